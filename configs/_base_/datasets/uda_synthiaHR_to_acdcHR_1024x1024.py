_base_ = ["./eval/acdc_1920x1080.py"]

# SYNTHIA -> ACDC at native resolution.
crop_size = (1024, 1024)
source_pipeline = [
    dict(type="LoadFrame"),
    dict(type="LoadTrainIds"),
    dict(type="ResizeFields", scale=(2560, 1520)),
    dict(type="CropFields", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="FlipFields", prob=0.5),
    dict(type="PackFields"),
]
target_pipeline = [
    dict(type="LoadFrame"),
    dict(type="MarkValid"),
    dict(type="ResizeFields", scale=(1920, 1080)),
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
        source=dict(type="SYNTHIA", pipeline=source_pipeline),
        target=dict(type="ACDC", images_only=True, pipeline=target_pipeline),
    ),
)
