# The reduced DeepLabV2 on ResNeXt-101 32x4d (arXiv:1611.05431).
_base_ = ["./dlv2red_r101v1c.py"]
model = dict(
    backbone=dict(
        type="ResNeXt",
        depth=101,
        groups=32,
        base_width=4,
        init_cfg=dict(type="BackboneWeights", checkpoint="resnext101_32x4d"),
    )
)
