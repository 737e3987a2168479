# DeepLabV3+ on a ShuffleNetV2 x1.0 in stages, output stride 16.
_base_ = ["./deeplabv3plus_r50-os16.py"]
model = dict(
    backbone=dict(
        arch="shufflenet_v2_x1_0",
        init_cfg=dict(type="BackboneWeights", checkpoint="shufflenet_v2_x1_0_imagenet1k_v1"),
    ),
    decode_head=dict(in_channels=[116, 1024]),
    auxiliary_head=dict(in_channels=464),
)
