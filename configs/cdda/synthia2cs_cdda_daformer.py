# CDDA (2025, no paper known; values of its repository) on DAFormer.
# SYNTHIA → Cityscapes. Published: 63.2 mIoU over 16 classes (best of 40 checkpoints, one seed).
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/daformer_sepaspp_mitb5.py",
    "../_base_/domains/synthia.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/methods/cdda.py",
]
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_synthia,
        target=_base_.target_cityscapes_depth,
        rare_class_sampling=_base_.rcs,
    )
)
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapes)
train_cfg = _base_.cdda_loop
default_hooks = _base_.cdda_hooks
uda = dict(_base_.daformer, depth=dict(_base_.cdda_syn, bank="preprocessed/synthia_daformer"))
