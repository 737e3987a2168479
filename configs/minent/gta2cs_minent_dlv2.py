# MinEnt (Vu et al., CVPR 2019, arXiv 1811.12833) as a baseline of MIC (CVPR 2023).
# GTA → Cityscapes.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/recipes/sgd.py",
    "../_base_/networks/dlv2red_r101v1c.py",
    "../_base_/domains/gta.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/methods/minent.py",
]
train_dataloader = dict(dataset=dict(source=_base_.source_gta, target=_base_.target_cityscapes))
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapes)
uda = _base_.minent
optim_wrapper = dict(_delete_=True, **_base_.sgd)
