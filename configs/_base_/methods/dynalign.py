# Retraining on DynAlign's labels (Sun et al., ICLR 2025, arXiv 2501.16410); a recipe of ours.
retraining = dict(
    type="Retraining",
    source_checkpoint="pretrained/hrda_gtaHR2csHR.pth",
    confidence_weights=False,
    freeze_known=False,
)


def labelled():
    return [
        dict(type="LoadFrame"),
        dict(type="LoadTrainIds"),
        # min_confidence: less sure decisions become unlabelled
        dict(type="LoadConfidence", min_confidence=0.0),
        dict(type="ResizeFields", scale=(2048, 1024)),
        dict(type="CropFields", crop_size=(1024, 1024), cat_max_ratio=0.75),
        dict(type="FlipFields", prob=0.5),
        dict(type="PackFields"),
    ]


# Labels stay at native size; predictions are enlarged to it.
def evaluated():
    return [
        dict(type="LoadFrame"),
        dict(type="ResizeFields", scale=(2048, 1024)),
        dict(type="LoadTrainIds"),
        dict(type="PackFields"),
    ]


aligned = dict(type="AlignedDataset", pipeline=labelled())
validated = dict(split="val", test_mode=True, pipeline=evaluated())
