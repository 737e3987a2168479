# CamVid (Brostow et al., Pattern Recognition Letters 2009) as target of rendered streets, on the
# 11 classes of SegNet's tutorial, at two thirds of its 480x360 pixels and at all of them (HR).


def labelled(size, crop_size):
    return [
        dict(type="LoadFrame"),
        dict(type="LoadTrainIds"),
        size,
        dict(type="CropFields", crop_size=crop_size, cat_max_ratio=0.75),
        dict(type="FlipFields", prob=0.5),
        dict(type="PhotoMetricDistortion"),
        dict(type="PackFields"),
    ]


def unlabelled(scale, crop_size):
    return [
        dict(type="LoadFrame"),
        dict(type="MarkValid"),
        dict(type="ResizeFields", scale=scale),
        dict(type="CropFields", crop_size=crop_size),
        dict(type="FlipFields", prob=0.5),
        dict(type="PackFields"),
    ]


# Labels stay at 480x360; predictions are enlarged to it.
def evaluated(scale):
    return [
        dict(type="LoadFrame"),
        dict(type="ResizeFields", scale=scale),
        dict(type="LoadTrainIds"),
        dict(type="PackFields"),
    ]


# Rendered cars and persons stand closer than those of Cambridge: the smallest of the random sizes
# shows a whole frame's height.
def rendered(crop_size):
    size = dict(type="ResizeFields", short_side=crop_size[0], factor=(1.0, 1.6))
    return dict(
        type="MiniGTA",
        taxonomy="camvid11",
        label_map="cityscapes19",
        pipeline=labelled(size, crop_size),
    )


photographs = dict(type="CamVid", taxonomy="camvid11")
ids = dict(label_map="camvid")
small, native = ((320, 240), (160, 160)), ((480, 360), (256, 256))
source_streets, source_streetsHR = rendered(small[1]), rendered(native[1])
target_camvid = dict(photographs, images_only=True, pipeline=unlabelled(*small))
target_camvidHR = dict(photographs, images_only=True, pipeline=unlabelled(*native))
val_camvid = dict(photographs, **ids, split="val", test_mode=True, pipeline=evaluated(small[0]))
val_camvidHR = dict(val_camvid, pipeline=evaluated(native[0]))
# Labelled, for training on CamVid alone (the oracle).
source_camvid = dict(
    photographs, **ids, pipeline=labelled(dict(type="ResizeFields", scale=small[0]), small[1])
)
# The smallest classes of the streets, fence and signs, would be nearly all that is drawn at the
# published temperature of 0.01.
rcs_streets = dict(min_share=0.0015, class_temp=0.1, min_crop_ratio=0.5)
streets2camvid = dict(source=source_streets, target=target_camvid)
streets2camvidHR = dict(source=source_streetsHR, target=target_camvidHR)
del small, native, photographs, ids  # other domains have names like these
