# SRHA (Jiao et al., Neural Networks 2025; arXiv 2404.13701) on DeepLabV3+ with MobileNetV2.
# GTA → Cityscapes, BDD100K, Mapillary Vistas. Published: in the article only.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/deeplabv3plus_mobilenetv2.py",
    "../_base_/datasets/gta_unseen_768x768.py",
    "../_base_/schedules/sgd_srha.py",
    "../_base_/schedules/poly09_60k.py",
    "../_base_/uda/srha.py",
]
randomness = dict(seed=0)
# On several GPUs BatchNorm uses the statistics of all of them.
sync_bn = True
train_dataloader = dict(batch_size=8)  # published: 4 on each of 2 GPUs
