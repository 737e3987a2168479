# The oracle: CamVid with its labels, MobileNetV2.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/recipes/short.py",
    "../_base_/networks/deeplabv3plus_mobilenetv2.py",
    "../_base_/domains/camvid.py",
]
train_dataloader = dict(_base_.batch_of_4, dataset=dict(source=_base_.source_camvid))
val_dataloader = test_dataloader = dict(_base_.in_process, dataset=_base_.val_camvid)
val_evaluator = test_evaluator = dict(taxonomy="camvid11")
optim_wrapper = _base_.adamw_short
param_scheduler = _base_.warmup_600
train_cfg = _base_.loop_600
default_hooks = _base_.often
uda = _base_.supervised
