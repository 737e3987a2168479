_base_ = ["./eval/acdc_960x540.py"]

# Target only (oracle): trained on the labels of ACDC, at half resolution.
crop_size = (512, 512)
source_pipeline = [
    dict(type="LoadFrame"),
    dict(type="LoadTrainIds"),
    dict(type="ResizeFields", scale=(960, 540)),
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
        source=dict(type="ACDC", pipeline=source_pipeline),
    ),
)
