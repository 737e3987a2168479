_base_ = ["./eval/cityscapes_2048x1024.py"]

# Target only (oracle): trained on the labels of Cityscapes, at native resolution.
crop_size = (256, 256)
source_pipeline = [
    dict(type="LoadFrame"),
    dict(type="LoadTrainIds"),
    dict(type="ResizeFields", scale=(2048, 1024)),
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
    ),
)
