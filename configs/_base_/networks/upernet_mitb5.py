# UPerNet (arXiv:1807.10221) on MiT-B5.
_base_ = ["./daformer_sepaspp_mitb5.py"]
model = dict(
    decode_head=dict(
        _delete_=True,
        type="UPerHead",
        in_channels=[64, 128, 320, 512],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=512,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=_base_.norm_cfg,
        align_corners=False,
        loss_decode=dict(type="PixelCrossEntropy", avg_non_ignore=False, loss_weight=1.0),
    )
)
