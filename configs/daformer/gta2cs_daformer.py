# DAFormer (Hoyer et al., CVPR 2022, arXiv 2111.14887).
# GTA → Cityscapes. Published: 68.3 mIoU.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/daformer_sepaspp_mitb5.py",
    "../_base_/domains/gta.py",
    "../_base_/domains/cityscapes.py",
]
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_gta,
        target=_base_.target_cityscapes,
        rare_class_sampling=_base_.rcs,
    )
)
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapes)
uda = _base_.daformer
