# Evaluation on the validation images of Dark Zurich, at 1920x1080.
# Labels stay at native size; predictions are enlarged to it.
test_pipeline = [
    dict(type="LoadFrame"),
    dict(type="ResizeFields", scale=(1920, 1080)),
    dict(type="LoadTrainIds"),
    dict(type="PackFields"),
]
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dict(type="DarkZurich", split="val", test_mode=True, pipeline=test_pipeline),
)
val_evaluator = dict(type="StreamingIoU")
# The labels of the test images are on the server: predictions are written, not evaluated.
# tools/test.py ... --out DIR names the folder to upload.
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False, round_up=False),
    dataset=dict(
        type="DarkZurich", split="test", images_only=True, test_mode=True, pipeline=test_pipeline
    ),
)
test_evaluator = dict(type="StreamingIoU", format_only=True, output_dir=None)
