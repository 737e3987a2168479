# Evaluation on the validation images of Cityscapes, at 1024x512.
# Labels stay at native size; predictions are enlarged to it.
test_pipeline = [
    dict(type="LoadFrame"),
    dict(type="ResizeFields", scale=(1024, 512)),
    dict(type="LoadTrainIds"),
    dict(type="PackFields"),
]
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dict(type="Cityscapes", split="val", test_mode=True, pipeline=test_pipeline),
)
val_evaluator = dict(type="StreamingIoU")
test_dataloader = val_dataloader
test_evaluator = val_evaluator
