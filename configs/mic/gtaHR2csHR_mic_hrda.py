# MIC on HRDA (Hoyer et al., CVPR 2023, arXiv 2212.01322).
# GTA → Cityscapes. Published: 75.9 mIoU.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/hrda1_daformer_sepaspp_mitb5.py",
    "../_base_/domains/gta.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/methods/mic.py",
]
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_gtaHR,
        target=_base_.target_cityscapesHR,
        rare_class_sampling=_base_.rcsHR,
    )
)
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapesHR)
uda = dict(_base_.hrda, masking=_base_.mic)
