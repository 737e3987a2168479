# SSDA (IEEE TMM 2024, doi 10.1109/TMM.2024.3355629) on HRDA with DeepLabV2.
# SYNTHIA → Cityscapes. No published number is known.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/hrda1_dlv2red_r101v1c.py",
    "../_base_/domains/synthia.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/methods/ssda.py",
]
model = dict(
    crop_coord_divisible=8,  # of the released config; 16 aligns both of DeepLabV2's grids
    test_cfg=dict(_delete_=True, mode="whole"),
)
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_synthiaHR,
        target=_base_.target_cityscapesHR,
        rare_class_sampling=_base_.rcsHR,
    )
)
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapesHR)
# Class shares of SYNTHIA's own; it lacks terrain, truck and train.
uda = dict(_base_.hrda, subdomains=dict(_base_.ssda, class_prior="source_stats"))
