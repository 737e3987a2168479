# MIC on HRDA (Hoyer et al., CVPR 2023, arXiv 2212.01322).
# Cityscapes → Dark Zurich. Published: 60.2 mIoU on the test server.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/hrda1_daformer_sepaspp_mitb5.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/domains/darkzurich.py",
    "../_base_/methods/mic.py",
]
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_cityscapesHR,
        target=_base_.target_darkzurichHR,
        rare_class_sampling=_base_.rcsHR,
    )
)
val_dataloader = dict(dataset=_base_.val_darkzurichHR)
test_dataloader = dict(dataset=_base_.test_darkzurichHR)
test_evaluator = _base_.predictions_only
uda = dict(_base_.hrda, masking=_base_.mic_separate)
