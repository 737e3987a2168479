_base_ = ["./eval/cityscapes_1024x512.py"]

# GTA -> Cityscapes at half resolution, source with photometric distortion.
crop_size = (512, 512)
source_pipeline = [
    dict(type="LoadFrame"),
    dict(type="LoadTrainIds"),
    dict(type="ResizeFields", scale=(1280, 720)),
    dict(type="CropFields", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="FlipFields", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackFields"),
]
target_pipeline = [
    dict(type="LoadFrame"),
    dict(type="MarkValid"),
    dict(type="ResizeFields", scale=(1024, 512)),
    dict(type="CropFields", crop_size=crop_size),
    dict(type="FlipFields", prob=0.5),
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
        source=dict(type="GTA", pipeline=source_pipeline),
        target=dict(type="Cityscapes", images_only=True, pipeline=target_pipeline),
    ),
)
