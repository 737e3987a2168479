# SSDA (IEEE TMM 2024, doi 10.1109/TMM.2024.3355629) on HRDA.
# SYNTHIA → Cityscapes. No published number is known.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/networks/hrda1_daformer_sepaspp_mitb5.py",
    "../_base_/domains/synthia.py",
    "../_base_/domains/cityscapes.py",
    "../_base_/methods/ssda.py",
]
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
