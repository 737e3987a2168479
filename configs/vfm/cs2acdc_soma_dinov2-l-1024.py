# SoMA (Yun et al., CVPR 2025, arXiv 2412.04077): Mask2Former on DINOv2-L with adapters.
# Cityscapes → ACDC (unseen), crops of 1024². Published: 78.75 mIoU on the test images.
# Published batch: 2 images on each of 4 GPUs.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/recipes/adapters.py",
    "../_base_/networks/mask2former_dinov2_vitl16.py",
    "../_base_/domains/multiscale.py",
    "../_base_/domains/acdc.py",
    "../_base_/methods/adapters.py",
]
model = dict(_base_.crops_1024, backbone=dict(_base_.crops_1024.backbone, **_base_.soma))
train_dataloader = dict(dataset=dict(source=_base_.multiscale_cityscapes1024))
val_dataloader = dict(dataset=_base_.val_acdcHR)
test_dataloader = dict(dataset=_base_.test_acdcHR)
optim_wrapper = _base_.adamw_soma
param_scheduler = _base_.warm_up_10000
uda = _base_.averaged_late
