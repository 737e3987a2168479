# Mask2Former on four blocks of DINOv2 ViT-L (Rein, CVPR 2024; SoMA, CVPR 2025). Patches are 16
# pixels, kernels and positions resized once, while loading; no LayerNorm on the maps.
model = dict(
    type="SlideEncoderDecoder",
    data_preprocessor=dict(
        type="DomainDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
    ),
    backbone=dict(
        type="TimmViT",
        arch="vit_large_patch14_dinov2",
        patch_size=16,
        pos_embed_mode="fixed",
        fixed_grid=32,  # crop / patch
        out_indices=(7, 11, 15, 23),
        final_norm=False,
        resample=(4, 2, 1, 0.5),
        init_cfg=dict(type="BackboneWeights", checkpoint="vit_large_patch14_dinov2.lvd142m"),
    ),
    decode_head=dict(
        type="TorchMask2FormerHead",
        in_channels=[1024, 1024, 1024, 1024],
        feature_strides=(4, 8, 16, 32),
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
            include_absent_classes=False,
        ),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341)),
)
# For crops of 1024².
crops_1024 = dict(
    data_preprocessor=dict(size=(1024, 1024)),
    backbone=dict(fixed_grid=64),
    test_cfg=dict(crop_size=(1024, 1024), stride=(683, 683)),
)
