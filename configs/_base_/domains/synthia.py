# SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016) as labelled source, at half and native (HR)
# resolution. It lacks terrain, truck and train.


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


half, native = ((1280, 760), (512, 512)), ((2560, 1520), (1024, 1024))
source_synthia = dict(type="SYNTHIA", pipeline=labelled(*half))
source_synthiaHR = dict(type="SYNTHIA", pipeline=labelled(*native))
# With distorted colours: for training on SYNTHIA alone.
colour = dict(type="PhotoMetricDistortion")
source_synthiaCAug = dict(type="SYNTHIA", pipeline=labelled(*half, colour))
source_synthiaCAugHR = dict(type="SYNTHIA", pipeline=labelled(*native, colour))
del half, native, colour  # other domains have names like these
