# SSDA (IEEE TMM 2024, doi 10.1109/TMM.2024.3355629) on DeepLabV2.
# GTA → Cityscapes. No published number is known: the released code runs on HRDA only.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/dlv2red_r101v1c.py",
    "../_base_/domains/gta.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/methods/ssda.py",
]
train_dataloader = dict(
    dataset=dict(
        source=_base_.source_gta,
        target=_base_.target_cityscapes,
        rare_class_sampling=_base_.rcs,
    )
)
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapes)
uda = dict(_base_.daformer, subdomains=_base_.ssda_dropout)
