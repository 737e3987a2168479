# Baseline of domain generalization (RobustNet, Choi et al., CVPR 2021): ResNet-50.
# Cityscapes → BDD100K, SYNTHIA, GTA.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/recipes/generalization.py",
    "../_base_/networks/deeplabv3plus_r50-os16.py",
    "../_base_/domains/unseen.py",
]
# On several GPUs BatchNorm uses the statistics of all of them.
sync_bn = True
model = dict(backbone=_base_.baseline)
# Published: 4 on each of 2 GPUs.
train_dataloader = dict(batch_size=8, num_workers=8, dataset=_base_.train_cityscapes)
val_dataloader = test_dataloader = dict(dataset=_base_.val_bdd100k_synthia_gta)
val_evaluator = test_evaluator = _base_.per_target
optim_wrapper = _base_.sgd
param_scheduler = _base_.poly09_40k
uda = _base_.supervised
