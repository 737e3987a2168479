# SoMA (Yun et al., CVPR 2025, arXiv 2412.04077): Mask2Former on DINOv2-L with adapters.
# GTA + SYNTHIA → Cityscapes, BDD100K, Mapillary (unseen). Published: 69.26 mIoU on average.
# The released config for these sources averages no weights.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/recipes/adapters.py",
    "../_base_/networks/mask2former_dinov2_vitl16.py",
    "../_base_/domains/multiscale.py",
    "../_base_/methods/adapters.py",
]
model = dict(backbone=_base_.soma)
train_dataloader = dict(batch_size=4, dataset=dict(source=_base_.multiscale_gta_synthia))
val_dataloader = test_dataloader = dict(dataset=_base_.cbm)
val_evaluator = test_evaluator = _base_.per_target
optim_wrapper = _base_.adamw_soma
param_scheduler = _base_.poly09_annealed
uda = _base_.supervised
