# SRHA (Jiao et al., Neural Networks 2025; arXiv 2404.13701) on Mask2Former with ResNet-50.
# GTA → Cityscapes, BDD100K, Mapillary Vistas. The optimizer of the original script, literally; the
# default is …-adamw.
_base_ = [
    "../_base_/recipes/default.py",
    "../_base_/recipes/generalization.py",
    "../_base_/networks/mask2former_r50-os16.py",
    "../_base_/domains/unseen.py",
    "../_base_/methods/srha.py",
]
# On several GPUs BatchNorm uses the statistics of all of them.
sync_bn = True
# Published: 2 on each of 4 GPUs.
train_dataloader = dict(batch_size=8, num_workers=8, dataset=_base_.train_gta)
val_dataloader = test_dataloader = dict(dataset=_base_.val_cityscapes_bdd100k_mapillary)
val_evaluator = test_evaluator = _base_.per_target
optim_wrapper = dict(_base_.sgd_srha, optimizer=dict(_base_.sgd.optimizer, lr=1e-4))  # encoder 5e-5
param_scheduler = _base_.poly09_120k
train_cfg = _base_.loop_120k
uda = _base_.srha
