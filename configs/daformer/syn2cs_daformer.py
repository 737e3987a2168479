# DAFormer (Hoyer et al., CVPR 2022, arXiv 2111.14887).
# SYNTHIA → Cityscapes. Published: 60.9 mIoU over 16 classes.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/daformer_sepaspp_mitb5.py",
    "../_base_/domains/synthia.py",
    "../_base_/domains/cityscapes.py",
]
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_synthia,
        target=_base_.target_cityscapes,
        rare_class_sampling=_base_.rcs,
    )
)
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapes)
uda = _base_.daformer
