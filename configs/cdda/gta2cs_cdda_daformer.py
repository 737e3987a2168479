# CDDA (2025, no paper known; values of its repository) on DAFormer.
# GTA → Cityscapes. Published: 69.6 mIoU (best of 40 checkpoints, one seed).
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/daformer_sepaspp_mitb5.py",
    "../_base_/domains/gta.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/methods/cdda.py",
]
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_gta,
        target=_base_.target_cityscapes_depth,
        rare_class_sampling=_base_.rcs,
    )
)
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapes)
train_cfg = _base_.cdda_loop
default_hooks = _base_.cdda_hooks
uda = dict(_base_.daformer, depth=dict(_base_.cdda_gta, bank="preprocessed/gta_daformer"))
