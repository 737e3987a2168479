_base_ = ["./uda_gta_to_cityscapes_512x512.py"]

# The same with depth maps of the target (CDDA). Those of the source are needed only to draw the
# bank of source crops, which loads them by itself.
crop_size = (512, 512)
target_pipeline = [
    dict(type="LoadFrame"),
    dict(type="MarkValid"),
    dict(type="ResizeFields", scale=(1024, 512)),
    dict(type="LoadRemappedDepth", remap="exp", rate=6.0),
    dict(type="CropFields", crop_size=crop_size),
    dict(type="FlipFields", prob=0.5),
    dict(type="PackFields"),
]
train_dataloader = dict(dataset=dict(target=dict(pipeline=target_pipeline)))
