# Mask2Former on a ResNet-50 in stages (SRHA), output stride 16; no auxiliary head.
_base_ = ["./deeplabv3plus_r50-os16.py"]
model = dict(
    decode_head=dict(
        _delete_=True,
        type="TorchMask2FormerHead",
        in_channels=[256, 512, 1024, 2048],
        feature_strides=(4, 8, 16, 16),
        channels=256,
        mask_channels=256,
        num_queries=100,
        encoder_layers=6,
        decoder_layers=9,
        num_heads=8,
        encoder_ffn=1024,
        decoder_ffn=2048,
        num_classes=19,
        align_corners=False,
        loss_decode=dict(
            type="MaskClassificationLoss",
            class_weight=2.0,
            mask_weight=5.0,
            dice_weight=5.0,
            no_object_weight=0.1,
            num_points=12544,
            oversample_ratio=3.0,
            importance_sample_ratio=0.75,
            include_absent_classes=True,  # False: as published with Mask2Former
        ),
    ),
    auxiliary_head=None,
)
