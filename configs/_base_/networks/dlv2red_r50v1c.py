# The reduced DeepLabV2 on ResNet-50-V1c.
_base_ = ["./dlv2red_r101v1c.py"]
model = dict(
    backbone=dict(depth=50, init_cfg=dict(type="BackboneWeights", checkpoint="resnet50_v1c"))
)
