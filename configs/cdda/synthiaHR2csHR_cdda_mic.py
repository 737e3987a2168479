# CDDA (2025, no paper known; values of its repository) on MIC on HRDA.
# SYNTHIA → Cityscapes. Published: 68.7 mIoU over 16 classes (best of 40 checkpoints, one seed).
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/hrda1_daformer_sepaspp_mitb5.py",
    "../_base_/domains/synthia.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/methods/cdda.py",
    "../_base_/methods/mic.py",
]
randomness = dict(seed=2)
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_synthiaHR,
        target=_base_.target_cityscapesHR_depth,
        rare_class_sampling=_base_.rcsHR,
    )
)
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapesHR)
train_cfg = _base_.cdda_loop
default_hooks = _base_.cdda_hooks
uda = dict(
    _base_.hrda, masking=_base_.mic, depth=dict(_base_.cdda_synHR, bank="preprocessed/synthia_mic")
)
