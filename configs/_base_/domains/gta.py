# GTA (Richter et al., ECCV 2016) as labelled source, at half and native (HR) resolution.


def labelled(scale, crop_size, *colour):
    return [
        dict(type="LoadFrame"),
        dict(type="LoadTrainIds"),
        dict(type="ResizeFields", scale=scale),
        dict(type="CropFields", crop_size=crop_size, cat_max_ratio=0.75),
        dict(type="FlipFields", prob=0.5),
        *colour,
        dict(type="PackFields"),
    ]


half, native = ((1280, 720), (512, 512)), ((2560, 1440), (1024, 1024))
source_gta = dict(type="GTA", pipeline=labelled(*half))
source_gtaHR = dict(type="GTA", pipeline=labelled(*native))
# With the 16 classes that SYNTHIA has: terrain is vegetation, truck is car, train unlabelled.
source_gta16 = dict(source_gta, label_map="gta16")
source_gta16HR = dict(source_gtaHR, label_map="gta16")
# With distorted colours: for training on GTA alone, and for adversarial training.
colour = dict(type="PhotoMetricDistortion")
source_gtaCAug = dict(type="GTA", pipeline=labelled(*half, colour))
source_gtaCAugHR = dict(type="GTA", pipeline=labelled(*native, colour))
source_gta16CAug = dict(source_gtaCAug, label_map="gta16")
source_gta16CAugHR = dict(source_gtaCAugHR, label_map="gta16")
del half, native, colour  # other domains have names like these
