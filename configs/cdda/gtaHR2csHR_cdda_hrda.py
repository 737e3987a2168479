# CDDA (2025, no paper known; values of its repository) on HRDA.
# GTA → Cityscapes. Published: 75.1 mIoU (best of 40 checkpoints, one seed).
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/hrda1_daformer_sepaspp_mitb5.py",
    "../_base_/domains/gta.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/methods/cdda.py",
]
randomness = dict(seed=1)
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_gtaHR,
        target=_base_.target_cityscapesHR_depth,
        rare_class_sampling=_base_.rcsHR,
    )
)
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapesHR)
train_cfg = _base_.cdda_loop
default_hooks = _base_.cdda_hooks
uda = dict(_base_.hrda, depth=dict(_base_.cdda_gtaHR, bank="preprocessed/gta_hrda"))
