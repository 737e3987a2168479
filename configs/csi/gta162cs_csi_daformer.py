# CSI (Lim and Kim, ECCV 2024, arXiv 2408.02261) on DAFormer.
# GTA with 16 classes → Cityscapes.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/daformer_sepaspp_mitb5.py",
    "../_base_/domains/gta.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/methods/csi.py",
]
# CSI's code averages over labelled pixels; DAFormer, HRDA and MIC over all pixels.
model = dict(decode_head=dict(loss_decode=dict(avg_non_ignore=True)))
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_gta16,
        target=_base_.target_cityscapes,
        rare_class_sampling=_base_.rcs,
    )
)
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapes)
param_scheduler = _base_.csi_schedule
uda = dict(_base_.daformer, relabel=_base_.csi)
