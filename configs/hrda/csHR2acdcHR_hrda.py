# HRDA (Hoyer et al., ECCV 2022, arXiv 2204.13132).
# Cityscapes → ACDC. Published: 68.0 mIoU on the test server.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/hrda1_daformer_sepaspp_mitb5.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/domains/acdc.py",
]
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_cityscapesHR,
        target=_base_.target_acdcHR,
        rare_class_sampling=_base_.rcsHR,
    )
)
val_dataloader = dict(dataset=_base_.val_acdcHR)
test_dataloader = dict(dataset=_base_.test_acdcHR)
test_evaluator = _base_.predictions_only
uda = _base_.hrda
