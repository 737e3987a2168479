# Domain generalization: one labelled source, several unseen targets evaluated in one run.
def labelled():
    return [
        dict(type="LoadFrame"),
        dict(type="LoadTrainIds"),
        dict(type="RandomScaleCrop", crop_size=(768, 768), scale=(0.5, 2.0)),
        dict(type="FlipFields", prob=0.5),
        dict(type="RandomColorJitter", prob=0.5),
        dict(type="RandomGaussianBlur", sigma=(0.15, 1.30)),
        dict(type="PackFields"),
    ]


# Predictions are scored at the size that the network sees.
def evaluated(*sizes):
    return [dict(type="LoadFrame"), dict(type="LoadTrainIds"), *sizes, dict(type="PackFields")]


# Half of an epoch shows every class equally often, at a place in a tile of this side.
uniform = dict(class_uniform_sampling=dict(share=0.5, tile=1024))
train_gta = dict(
    uniform, source=dict(type="GTA", file_list="splits/train.txt", pipeline=labelled())
)
train_cityscapes = dict(uniform, source=dict(type="Cityscapes", pipeline=labelled()))

bdd100k = dict(type="BDD100K", split="val", test_mode=True, pipeline=evaluated())
val_cityscapes_bdd100k_mapillary = dict(
    type="MultiTargetDataset",
    targets=dict(
        cityscapes=dict(type="Cityscapes", split="val", test_mode=True, pipeline=evaluated()),
        bdd100k=bdd100k,
        mapillary=dict(
            type="Mapillary",
            split="val",
            label_map="mapillary12",  # 25 of the 66 ids have one of the 19 classes
            test_mode=True,
            pipeline=evaluated(
                dict(type="ResizeToScore", height=1536),
                # What lies outside the square is not scored. legacy=True pads as RobustNet and its
                # descendants do, for comparison with their numbers.
                dict(type="CenterCropPad", size=(1536, 1536), legacy=False),
            ),
        ),
    ),
)
val_bdd100k_synthia_gta = dict(
    type="MultiTargetDataset",
    targets=dict(
        bdd100k=bdd100k,
        # 19 classes: terrain, truck and train do not occur and count as 0 once predicted.
        synthia=dict(
            type="SYNTHIA", file_list="splits/val.txt", test_mode=True, pipeline=evaluated()
        ),
        gta=dict(
            type="GTA",
            file_list="splits/val.txt",
            test_mode=True,
            # some frames are a few pixels smaller
            pipeline=evaluated(dict(type="ResizeToScore", size=(1914, 1052))),
        ),
    ),
)


# As DAFormer and HRDA see them: within the size of their Cityscapes, and scored at native size.
def within(scale):
    shrunk = [
        dict(type="LoadFrame"),
        dict(type="ResizeFields", scale=scale),
        dict(type="LoadTrainIds"),
        dict(type="PackFields"),
    ]
    frames = dict(split="val", test_mode=True, pipeline=shrunk)
    targets = dict(
        cityscapes=dict(frames, type="Cityscapes"),
        bdd100k=dict(frames, type="BDD100K"),
        mapillary=dict(frames, type="Mapillary", label_map="mapillary12"),
    )
    return dict(type="MultiTargetDataset", targets=targets)


val_unseen = within((1024, 512))
val_unseenHR = within((2048, 1024))
per_target = dict(type="MultiTargetIoU", subsets={})
