# SRHA (Jiao et al., Neural Networks 2025; arXiv 2404.13701) on Mask2Former with ResNet-50.
# GTA → Cityscapes, BDD100K, Mapillary Vistas. Published in the article, with SGD (…-sgd), which
# hardly trains such a network; this is the optimizer that an unused file of the original names.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/mask2former_r50-os16.py",
    "../_base_/datasets/gta_unseen_768x768.py",
    "../_base_/schedules/adamw_m2f.py",
    "../_base_/schedules/poly09_120k.py",
    "../_base_/uda/srha.py",
]
randomness = dict(seed=0)
# On several GPUs BatchNorm uses the statistics of all of them.
sync_bn = True
train_dataloader = dict(batch_size=8)  # published: 2 on each of 4 GPUs
