# ACDC (Sakaridis et al., ICCV 2021): fog, night, rain and snow, at half and native (HR) resolution.
# The labels of the test images are on the server.


def unlabelled(scale, crop_size):
    return [
        dict(type="LoadFrame"),
        dict(type="MarkValid"),
        dict(type="ResizeFields", scale=scale),
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


target_acdc = dict(type="ACDC", images_only=True, pipeline=unlabelled((960, 540), (512, 512)))
target_acdcHR = dict(target_acdc, pipeline=unlabelled((1920, 1080), (1024, 1024)))
# CSI's runs keep the margins of Cityscapes, although ACDC has no border to cut off.
target_acdcHR_cut = dict(target_acdcHR, crop_pseudo_margins=[30, 240, 30, 30])
val_acdc = dict(type="ACDC", split="val", test_mode=True, pipeline=evaluated((960, 540)))
val_acdcHR = dict(val_acdc, pipeline=evaluated((1920, 1080)))
test_acdc = dict(val_acdc, split="test", images_only=True)
test_acdcHR = dict(val_acdcHR, split="test", images_only=True)


# The training images have labels (the oracle).
def labelled(scale, crop_size):
    return [
        dict(type="LoadFrame"),
        dict(type="LoadTrainIds"),
        dict(type="ResizeFields", scale=scale),
        dict(type="CropFields", crop_size=crop_size, cat_max_ratio=0.75),
        dict(type="FlipFields", prob=0.5),
        dict(type="PhotoMetricDistortion"),
        dict(type="PackFields"),
    ]


source_acdcCAug = dict(type="ACDC", pipeline=labelled((960, 540), (512, 512)))
source_acdcCAugHR = dict(type="ACDC", pipeline=labelled((1920, 1080), (1024, 1024)))
