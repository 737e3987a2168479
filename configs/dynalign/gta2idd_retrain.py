# Retraining HRDA on DynAlign's labels of IDD (level 3); a recipe of ours, since the
# original's is not released. Published numbers: not available.
# First: python tools/align.py configs/dynalign/gta2idd_labels.py
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/hrda1_daformer_sepaspp_mitb5.py",
    "../_base_/schedules/adamw.py",
    "../_base_/schedules/poly10warm.py",
]
randomness = dict(seed=0)
model = dict(
    data_preprocessor=dict(size=(1024, 1024)),
    hr_crop_size=(512, 512),
    decode_head=dict(num_classes=26, hr_loss_weight=0.1),
    test_cfg=dict(mode="slide", batched_slide=True, crop_size=(1024, 1024), stride=(512, 512)),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type="PairSampler"),
    dataset=dict(
        type="DomainPairDataset",
        source=dict(
            type="AlignedDataset",
            images=dict(type="IDD", split="train"),
            results="work_dirs/gta2idd_labels/train",
            taxonomy_map="idd_v5",
            pipeline=[
                dict(type="LoadFrame"),
                dict(type="LoadTrainIds"),
                # min_confidence: less sure decisions become unlabelled
                dict(type="LoadConfidence", min_confidence=0.0),
                dict(type="ResizeFields", scale=(2048, 1024)),
                dict(type="CropFields", crop_size=(1024, 1024), cat_max_ratio=0.75),
                dict(type="FlipFields", prob=0.5),
                dict(type="PackFields"),
            ],
        ),
    ),
)
# Labels stay at native size; predictions are enlarged to it.
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dict(
        type="IDD",
        split="val",
        taxonomy="idd26",
        test_mode=True,
        pipeline=[
            dict(type="LoadFrame"),
            dict(type="ResizeFields", scale=(2048, 1024)),
            dict(type="LoadTrainIds"),
            dict(type="PackFields"),
        ],
    ),
)
val_evaluator = dict(type="AlignmentIoU", taxonomy_map="idd_v5")
test_dataloader = val_dataloader
test_evaluator = val_evaluator
uda = dict(
    type="Retraining",
    taxonomy_map="idd_v5",
    source_checkpoint="pretrained/hrda_gtaHR2csHR.pth",
    confidence_weights=False,
    freeze_known=False,
)
