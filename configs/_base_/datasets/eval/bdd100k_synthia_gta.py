# Evaluation on three unseen targets in one run: validation images of BDD100K, SYNTHIA and GTA.
# Predictions are scored at the size that the network sees.
native_pipeline = [
    dict(type="LoadFrame"),
    dict(type="LoadTrainIds"),
    dict(type="PackFields"),
]
gta_pipeline = [
    dict(type="LoadFrame"),
    dict(type="LoadTrainIds"),
    dict(type="ResizeToScore", size=(1914, 1052)),  # some frames are a few pixels smaller
    dict(type="PackFields"),
]
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dict(
        type="MultiTargetDataset",
        targets=dict(
            bdd100k=dict(type="BDD100K", split="val", test_mode=True, pipeline=native_pipeline),
            # 19 classes: terrain, truck and train do not occur and count as 0 once predicted.
            synthia=dict(
                type="SYNTHIA",
                file_list="splits/val.txt",
                test_mode=True,
                pipeline=native_pipeline,
            ),
            gta=dict(type="GTA", file_list="splits/val.txt", test_mode=True, pipeline=gta_pipeline),
        ),
    ),
)
val_evaluator = dict(type="MultiTargetIoU", subsets={})
test_dataloader = val_dataloader
test_evaluator = val_evaluator
