# DeepLabV3+ on a MobileNetV2 in stages, output stride 16.
_base_ = ["./deeplabv3plus_r50-os16.py"]
model = dict(
    backbone=dict(
        arch="mobilenet_v2",
        init_cfg=dict(type="BackboneWeights", checkpoint="mobilenet_v2_imagenet1k_v1"),
    ),
    decode_head=dict(in_channels=[32, 1280]),
    auxiliary_head=dict(in_channels=320),
)
