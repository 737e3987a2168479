# Rein (Wei et al., CVPR 2024, arXiv 2312.04265): Mask2Former on DINOv2-L with tokens.
# GTA → Cityscapes, BDD100K, Mapillary (unseen). Published: 66.7 on Cityscapes, 60.0 on BDD100K.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/recipes/adapters.py",
    "../_base_/networks/mask2former_dinov2_vitl16.py",
    "../_base_/domains/multiscale.py",
    "../_base_/methods/adapters.py",
]
model = dict(backbone=_base_.rein)
train_dataloader = dict(batch_size=4, dataset=dict(source=_base_.multiscale_gta))
val_dataloader = test_dataloader = dict(dataset=_base_.cbm_half)
val_evaluator = test_evaluator = _base_.per_target
optim_wrapper = _base_.adamw_rein
param_scheduler = _base_.poly09
uda = _base_.supervised
