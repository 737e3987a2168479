_base_ = ["./eval/cityscapes_1024x512.py"]

# Cityscapes -> Cityscapes at half resolution.
# Both sides are the labelled training images: supervised training in the form of a pair.
crop_size = (512, 512)
source_pipeline = [
    dict(type="LoadFrame"),
    dict(type="LoadTrainIds"),
    dict(type="ResizeFields", scale=(1024, 512)),
    dict(type="CropFields", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="FlipFields", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackFields"),
]
target_pipeline = [
    dict(type="LoadFrame"),
    dict(type="LoadTrainIds"),
    dict(type="ResizeFields", scale=(1024, 512)),
    dict(type="CropFields", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="FlipFields", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackFields"),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type="PairSampler"),
    dataset=dict(
        type="DomainPairDataset",
        source=dict(type="Cityscapes", pipeline=source_pipeline),
        target=dict(type="Cityscapes", pipeline=target_pipeline),
    ),
)
