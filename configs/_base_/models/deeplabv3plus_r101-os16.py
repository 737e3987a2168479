# DeepLabV3+ on a ResNet-101 in stages, output stride 16.
_base_ = ["./deeplabv3plus_r50-os16.py"]
model = dict(
    backbone=dict(
        arch="resnet101",
        init_cfg=dict(type="BackboneWeights", checkpoint="resnet101_imagenet1k_v1"),
    ),
)
