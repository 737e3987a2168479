# CSI (Lim and Kim, ECCV 2024, arXiv 2408.02261) on HRDA.
# SYNTHIA → Cityscapes.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/hrda1_daformer_sepaspp_mitb5.py",
    "../_base_/domains/synthia.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/methods/csi.py",
]
model = dict(decode_head=dict(loss_decode=dict(avg_non_ignore=True)))
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_synthiaHR,
        target=_base_.target_cityscapesHR,
        rare_class_sampling=_base_.rcsHR,
    )
)
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapesHR)
param_scheduler = _base_.csi_schedule
uda = dict(_base_.hrda, relabel=_base_.csi)
