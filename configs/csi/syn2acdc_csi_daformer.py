# CSI (Lim and Kim, ECCV 2024, arXiv 2408.02261) on DAFormer.
# SYNTHIA → ACDC.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/daformer_sepaspp_mitb5.py",
    "../_base_/domains/synthia.py",
    "../_base_/domains/acdc.py",
    "../_base_/methods/csi.py",
]
# CSI's code averages over labelled pixels; DAFormer, HRDA and MIC over all pixels.
model = dict(decode_head=dict(loss_decode=dict(avg_non_ignore=True)))
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_synthia,
        target=_base_.target_acdc,
        rare_class_sampling=_base_.rcs,
    )
)
val_dataloader = dict(dataset=_base_.val_acdc)
test_dataloader = dict(dataset=_base_.test_acdc)
test_evaluator = _base_.predictions_only
param_scheduler = _base_.csi_schedule
uda = dict(_base_.daformer, relabel=_base_.csi)
