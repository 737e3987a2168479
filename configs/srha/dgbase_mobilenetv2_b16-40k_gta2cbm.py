# Baseline of domain generalization (RobustNet, Choi et al., CVPR 2021): MobileNetV2.
# GTA → Cityscapes, BDD100K, Mapillary Vistas.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/deeplabv3plus_mobilenetv2.py",
    "../_base_/datasets/gta_unseen_768x768.py",
    "../_base_/schedules/sgd_dg.py",
    "../_base_/schedules/poly09_40k.py",
    "../_base_/uda/supervised.py",
]
randomness = dict(seed=0)
# On several GPUs BatchNorm uses the statistics of all of them.
sync_bn = True
# The whole network is trained, without standardisation behind the stem.
model = dict(backbone=dict(frozen_stages=(), standardize=False))
train_dataloader = dict(batch_size=16)  # published: 8 on each of 2 GPUs
