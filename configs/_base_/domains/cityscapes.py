# Cityscapes (Cordts et al., CVPR 2016), at half and native (HR) resolution.


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


def unlabelled(scale, crop_size, *depth):
    return [
        dict(type="LoadFrame"),
        dict(type="MarkValid"),
        dict(type="ResizeFields", scale=scale),
        *depth,
        dict(type="CropFields", crop_size=crop_size),
        dict(type="FlipFields", prob=0.5),
        dict(type="PackFields"),
    ]


# Labels stay at native size; predictions are enlarged to it.
def evaluated(scale):
    return [
        dict(type="LoadFrame"),
        dict(type="ResizeFields", scale=scale),
        dict(type="LoadTrainIds"),
        dict(type="PackFields"),
    ]


half, native = ((1024, 512), (512, 512)), ((2048, 1024), (1024, 1024))

target_cityscapes = dict(type="Cityscapes", images_only=True, pipeline=unlabelled(*half))
# No pseudo-labels on rectification borders and ego car: top, bottom, left, right of an image. At
# half resolution the published runs cut rows off the crop, which the trainer does.
margins = [30, 240, 30, 30]
target_cityscapesHR = dict(
    type="Cityscapes",
    images_only=True,
    pipeline=unlabelled(*native),
    crop_pseudo_margins=margins,
)
# With depth maps (CDDA). Those of the source are needed only to draw the bank of source crops,
# which loads them by itself.
depth = dict(type="LoadRemappedDepth", remap="exp", rate=6.0)
target_cityscapes_depth = dict(target_cityscapes, pipeline=unlabelled(*half, depth))
target_cityscapesHR_depth = dict(target_cityscapesHR, pipeline=unlabelled(*native, depth))

val_cityscapes = dict(type="Cityscapes", split="val", test_mode=True, pipeline=evaluated(half[0]))
val_cityscapesHR = dict(val_cityscapes, pipeline=evaluated(native[0]))

# Labelled: as source, and with distorted colours for training on Cityscapes alone (the oracle).
source_cityscapes = dict(type="Cityscapes", pipeline=labelled(*half))
source_cityscapesHR = dict(type="Cityscapes", pipeline=labelled(*native))
colour = dict(type="PhotoMetricDistortion")
source_cityscapesCAug = dict(type="Cityscapes", pipeline=labelled(*half, colour))
source_cityscapesCAugHR = dict(type="Cityscapes", pipeline=labelled(*native, colour))
del half, native, colour, depth  # other domains have names like these
