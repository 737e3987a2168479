# Data of VFM-UDA (arXiv:2406.09896): random scales at native resolution, crops of 1024².


def labelled(short_side):
    return [
        dict(type="LoadFrame"),
        dict(type="LoadTrainIds"),
        dict(type="ResizeFields", short_side=short_side, factor=(0.9, 1.1)),
        dict(type="CropFields", crop_size=(1024, 1024), cat_max_ratio=0.75),
        dict(type="FlipFields", prob=0.5),
        dict(type="PackFields"),
    ]


# No pseudo-labels at the borders: shares of the image at the top, bottom, left, right.
def unlabelled(short_side):
    return [
        dict(type="LoadFrame"),
        dict(type="MarkValid", shares=(0.03, 0.25, 0.03, 0.03)),
        dict(type="ResizeFields", short_side=short_side, factor=(0.9, 1.1)),
        dict(type="CropFields", crop_size=(1024, 1024)),
        dict(type="FlipFields", prob=0.5),
        dict(type="PackFields"),
    ]


scaled_gta = dict(type="GTA", pipeline=labelled(1440))
scaled_synthia = dict(type="SYNTHIA", pipeline=labelled(1024))
scaled_cityscapes = dict(type="Cityscapes", pipeline=labelled(1024))
scaled_target_cityscapes = dict(type="Cityscapes", images_only=True, pipeline=unlabelled(1024))
scaled_target_acdc = dict(type="ACDC", images_only=True, pipeline=unlabelled(1024))
scaled_target_darkzurich = dict(type="DarkZurich", images_only=True, pipeline=unlabelled(1024))
scaled_acdc = dict(type="ACDC", pipeline=labelled(1024))
# A crop has 4 times the pixels of one of 512² at half resolution, hence the 2.0.
scaled_rcs = dict(min_pixels=3000, class_temp=0.05, min_crop_ratio=2.0)
