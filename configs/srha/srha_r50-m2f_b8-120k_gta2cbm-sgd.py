# SRHA (Jiao et al., Neural Networks 2025; arXiv 2404.13701) on Mask2Former with ResNet-50.
# GTA → Cityscapes, BDD100K, Mapillary Vistas. The optimizer of the original script, literally; the
# default is …-adamw.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/mask2former_r50-os16.py",
    "../_base_/datasets/gta_unseen_768x768.py",
    "../_base_/schedules/sgd_srha.py",
    "../_base_/schedules/poly09_120k.py",
    "../_base_/uda/srha.py",
]
randomness = dict(seed=0)
# On several GPUs BatchNorm uses the statistics of all of them.
sync_bn = True
optim_wrapper = dict(optimizer=dict(lr=1e-4))  # encoder 5e-5
train_dataloader = dict(batch_size=8)  # published: 2 on each of 4 GPUs
