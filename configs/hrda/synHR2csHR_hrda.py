# HRDA (Hoyer et al., ECCV 2022, arXiv 2204.13132).
# SYNTHIA → Cityscapes. Published: 65.8 mIoU over 16 classes.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/hrda1_daformer_sepaspp_mitb5.py",
    "../_base_/domains/synthia.py",
    "../_base_/domains/cityscapes.py",
]
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_synthiaHR,
        target=_base_.target_cityscapesHR,
        rare_class_sampling=_base_.rcsHR,
    )
)
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapesHR)
uda = _base_.hrda
