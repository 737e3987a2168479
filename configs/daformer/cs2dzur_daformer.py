# DAFormer (Hoyer et al., CVPR 2022, arXiv 2111.14887).
# Cityscapes → Dark Zurich. Published: 53.8 mIoU on the test server.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/daformer_sepaspp_mitb5.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/domains/darkzurich.py",
]
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_cityscapes,
        target=_base_.target_darkzurich,
        rare_class_sampling=_base_.rcs,
    )
)
val_dataloader = dict(dataset=_base_.val_darkzurich)
test_dataloader = dict(dataset=_base_.test_darkzurich)
test_evaluator = _base_.predictions_only
# Dark Zurich has neither border nor ego car; the published runs cut the rows all the same.
uda = _base_.daformer
