# AdvSeg (Tsai et al., CVPR 2018, arXiv 1802.10349) as a baseline of MIC (CVPR 2023).
# GTA → Cityscapes.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/recipes/sgd.py",
    "../_base_/networks/dlv2red_r101v1c.py",
    "../_base_/domains/gta.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/methods/advseg.py",
]
train_dataloader = dict(dataset=dict(source=_base_.source_gta, target=_base_.target_cityscapes))
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapes)
uda = _base_.advseg
optim_wrapper = dict(_delete_=True, **_base_.sgd_and_adam)
param_scheduler = dict(
    _delete_=True,
    segmentor=_base_.param_scheduler,
    discriminator=_base_.discriminator_schedule,
)
