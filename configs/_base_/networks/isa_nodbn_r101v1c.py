# Interlaced sparse self-attention (arXiv:1907.12273) on ResNet-101-V1c, without BatchNorm in its
# decoder.
_base_ = ["./dlv2red_r101v1c.py"]
model = dict(
    decode_head=dict(
        _delete_=True,
        type="ISAHead",
        in_channels=2048,
        in_index=3,
        channels=512,
        isa_channels=256,
        down_factor=(8, 8),
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=None,
        align_corners=False,
        loss_decode=dict(type="PixelCrossEntropy", avg_non_ignore=False, loss_weight=1.0),
    )
)
