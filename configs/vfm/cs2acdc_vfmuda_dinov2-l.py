# VFM-UDA (Englert et al., CVPR Workshops 2024, arXiv 2406.09896) on DINOv2-L.
# Cityscapes → ACDC. Not published.
# Published batch: 2 images of each domain on each of 4 GPUs.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/recipes/vfm.py",
    "../_base_/networks/light_dinov2_vitl14.py",
    "../_base_/domains/vfm.py",
    "../_base_/domains/acdc.py",
    "../_base_/methods/vfm_uda.py",
]
train_dataloader = dict(
    dataset=dict(
        source=_base_.scaled_cityscapes,
        target=_base_.scaled_target_acdc,
        rare_class_sampling=_base_.scaled_rcs,
    )
)
val_dataloader = dict(dataset=_base_.val_acdcHR)
test_dataloader = dict(dataset=_base_.test_acdcHR)
optim_wrapper = _base_.adamw_vfm
param_scheduler = _base_.warmup_linear
uda = _base_.vfm_uda
