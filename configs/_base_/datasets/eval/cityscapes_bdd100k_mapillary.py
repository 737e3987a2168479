# Evaluation on three unseen targets in one run: validation images of Cityscapes, BDD100K and
# Mapillary Vistas v1.2. Predictions are scored at the size that the network sees.
native_pipeline = [
    dict(type="LoadFrame"),
    dict(type="LoadTrainIds"),
    dict(type="PackFields"),
]
mapillary_pipeline = [
    dict(type="LoadFrame"),
    dict(type="LoadTrainIds"),
    dict(type="ResizeToScore", height=1536),
    # What lies outside the square is not scored. legacy=True pads as RobustNet and its descendants
    # do, for comparison with their numbers.
    dict(type="CenterCropPad", size=(1536, 1536), legacy=False),
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
            cityscapes=dict(
                type="Cityscapes", split="val", test_mode=True, pipeline=native_pipeline
            ),
            bdd100k=dict(type="BDD100K", split="val", test_mode=True, pipeline=native_pipeline),
            mapillary=dict(
                type="Mapillary",
                split="val",
                label_map="mapillary12",  # 25 of the 66 ids have one of the 19 classes
                test_mode=True,
                pipeline=mapillary_pipeline,
            ),
        ),
    ),
)
val_evaluator = dict(type="MultiTargetIoU", subsets={})
test_dataloader = val_dataloader
test_evaluator = val_evaluator
