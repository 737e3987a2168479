# The reduced DeepLabV2 on ResNeSt-101 (arXiv:2004.08955).
_base_ = ["./dlv2red_r101v1c.py"]
model = dict(
    backbone=dict(
        type="ResNeSt",
        depth=101,
        stem_channels=128,
        radix=2,
        reduction_factor=4,
        avg_down_stride=True,
        init_cfg=dict(type="BackboneWeights", checkpoint="resnest101"),
    )
)
