# Dark Zurich (Sakaridis et al., ICCV 2019): night, at half and native (HR) resolution.
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


target_darkzurich = dict(
    type="DarkZurich", images_only=True, pipeline=unlabelled((960, 540), (512, 512))
)
target_darkzurichHR = dict(target_darkzurich, pipeline=unlabelled((1920, 1080), (1024, 1024)))
val_darkzurich = dict(
    type="DarkZurich", split="val", test_mode=True, pipeline=evaluated((960, 540))
)
val_darkzurichHR = dict(val_darkzurich, pipeline=evaluated((1920, 1080)))
test_darkzurich = dict(val_darkzurich, split="test", images_only=True)
test_darkzurichHR = dict(val_darkzurichHR, split="test", images_only=True)
