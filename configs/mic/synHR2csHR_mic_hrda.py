# MIC on HRDA (Hoyer et al., CVPR 2023, arXiv 2212.01322).
# SYNTHIA → Cityscapes. Published: 67.3 mIoU over 16 classes.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/hrda1_daformer_sepaspp_mitb5.py",
    "../_base_/domains/synthia.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/methods/mic.py",
]
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_synthiaHR,
        target=_base_.target_cityscapesHR,
        rare_class_sampling=_base_.rcsHR,
    )
)
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapesHR)
uda = dict(_base_.hrda, masking=_base_.mic)
