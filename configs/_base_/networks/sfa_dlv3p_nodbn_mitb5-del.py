# The decoder of DeepLabV3+ (arXiv:1802.02611) without BatchNorm on MiT-B5, whose last level is
# enlarged to the 1/8 that it expects.
_base_ = ["./daformer_sepaspp_mitb5.py"]
model = dict(
    neck=dict(type="LevelUpsample", scales=[4]),
    decode_head=dict(
        _delete_=True,
        type="DepthwiseSeparableASPPHead",
        in_channels=512,
        in_index=3,
        channels=512,
        dilations=(1, 12, 24, 36),
        c1_in_channels=64,
        c1_channels=48,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=None,
        align_corners=False,
        loss_decode=dict(type="PixelCrossEntropy", avg_non_ignore=False, loss_weight=1.0),
    ),
)
