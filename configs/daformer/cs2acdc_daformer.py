# DAFormer (Hoyer et al., CVPR 2022, arXiv 2111.14887).
# Cityscapes → ACDC. Published: 55.4 mIoU on the test server.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/daformer_sepaspp_mitb5.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/domains/acdc.py",
]
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_cityscapes,
        target=_base_.target_acdc,
        rare_class_sampling=_base_.rcs,
    )
)
val_dataloader = dict(dataset=_base_.val_acdc)
test_dataloader = dict(dataset=_base_.test_acdc)
test_evaluator = _base_.predictions_only
# ACDC has neither border nor ego car; the published runs cut the rows all the same.
uda = _base_.daformer
