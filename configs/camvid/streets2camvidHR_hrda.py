# HRDA (Hoyer et al., ECCV 2022): rendered streets → CamVid, MobileNetV2.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/recipes/short.py",
    "../_base_/networks/deeplabv3plus_mobilenetv2.py",
    "../_base_/domains/camvid.py",
]
model = _base_.hrda_network
train_dataloader = dict(
    _base_.batch_of_4, dataset=dict(_base_.streets2camvidHR, rare_class_sampling=_base_.rcs_streets)
)
val_dataloader = test_dataloader = dict(_base_.in_process, dataset=_base_.val_camvidHR)
val_evaluator = test_evaluator = dict(taxonomy="camvid11")
optim_wrapper = _base_.adamw_short
param_scheduler = _base_.warmup_600
train_cfg = _base_.loop_600
default_hooks = _base_.often
uda = dict(
    _base_.hrda,
    taxonomy="camvid11",
    alpha=0.99,  # a teacher of the last 100 steps; published: 0.999 in 40 000
    feature_distance=dict(_base_.hrda.feature_distance, classes="things"),
)
