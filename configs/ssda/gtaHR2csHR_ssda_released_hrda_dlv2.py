# SSDA (IEEE TMM 2024, doi 10.1109/TMM.2024.3355629) as released, on HRDA with DeepLabV2.
# GTA → Cityscapes. Published: 64.4 mIoU (one checkpoint, this seed). What the released code runs,
# its mistakes included. Experiment 411, row 2.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/hrda1_dlv2red_r101v1c.py",
    "../_base_/domains/gta.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/methods/ssda.py",
]
randomness = dict(seed=1)
model = dict(
    crop_coord_divisible=8,  # of the released config; 16 aligns both of DeepLabV2's grids
    test_cfg=dict(_delete_=True, mode="whole"),
)
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_gtaHR,
        target=_base_.target_cityscapesHR,
        rare_class_sampling=_base_.rcsHR,
    )
)
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapesHR)
uda = dict(_base_.hrda, subdomains=_base_.ssda_released)
