# Data of Rein and SoMA: sources at scales of 1/2 to 2 times the crop, unseen targets.


# The shorter side is one of 16 lengths.
def labelled(crop):
    return [
        dict(type="LoadFrame"),
        dict(type="LoadTrainIds"),
        dict(type="ResizeFields", short_side=[crop * k // 10 for k in range(5, 21)]),
        dict(type="CropFields", crop_size=(crop, crop), cat_max_ratio=0.75),
        dict(type="FlipFields", prob=0.5),
        dict(type="PhotoMetricDistortion"),
        dict(type="PackFields"),
    ]


# Labels stay at native size; predictions are enlarged to it.
def evaluated(*sizes):
    return [dict(type="LoadFrame"), *sizes, dict(type="LoadTrainIds"), dict(type="PackFields")]


def sources(crop, *names):
    found = [dict(type=name, pipeline=labelled(crop)) for name in names]
    return found[0] if len(found) == 1 else dict(type="ConcatDataset", datasets=found)


multiscale_gta = sources(512, "GTA")
multiscale_cityscapes = sources(512, "Cityscapes")
multiscale_gta_synthia = sources(512, "GTA", "SYNTHIA")
multiscale_cityscapes1024 = sources(1024, "Cityscapes")
multiscale_acdc1024 = sources(1024, "ACDC")


# Cityscapes and Mapillary at 2048x1024 in SoMA, at 1024x512 in Rein; BDD100K as it is, 1280x720.
def targets(size):
    fit = dict(type="ResizeFields", scale=size)
    mapillary = dict(type="Mapillary", split="val", label_map="mapillary12", test_mode=True)
    return dict(
        cityscapes=dict(type="Cityscapes", split="val", test_mode=True, pipeline=evaluated(fit)),
        bdd100k=dict(type="BDD100K", split="val", test_mode=True, pipeline=evaluated()),
        mapillary=dict(mapillary, pipeline=evaluated(fit)),
    )


cbm = dict(type="MultiTargetDataset", targets=targets((2048, 1024)))
cbm_half = dict(type="MultiTargetDataset", targets=targets((1024, 512)))
bm = dict(cbm, targets={name: cbm["targets"][name] for name in ("bdd100k", "mapillary")})
per_target = dict(type="MultiTargetIoU", subsets={})
