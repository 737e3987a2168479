_base_ = ["./eval/cityscapes_2048x1024.py"]

# Source only at native resolution: trained on GTA, evaluated on Cityscapes.
crop_size = (1024, 1024)
source_pipeline = [
    dict(type="LoadFrame"),
    dict(type="LoadTrainIds"),
    dict(type="ResizeFields", scale=(2560, 1440)),
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
        source=dict(type="GTA", pipeline=source_pipeline),
    ),
)
