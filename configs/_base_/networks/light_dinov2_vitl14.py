# VFM-UDA (arXiv:2406.09896): DINOv2 ViT-L with a light decoder. No BatchNorm, no dropout.
model = dict(
    type="SlideEncoderDecoder",
    data_preprocessor=dict(
        type="DomainDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(1024, 1024),  # no effect on larger crops; set it to the crop size for smaller ones
    ),
    backbone=dict(
        type="TimmViT",
        arch="vit_large_patch14_dinov2",
        input_scale=1.1,  # 1024 pixels become 1120, which are 80 patches
        init_cfg=dict(type="BackboneWeights", checkpoint="vit_large_patch14_dinov2.lvd142m"),
    ),
    decode_head=dict(
        type="LightHead",
        in_channels=1024,
        num_classes=19,
        align_corners=False,
        loss_decode=dict(type="PixelCrossEntropy", avg_non_ignore=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    # windows of the crop's size; their probabilities are averaged, as published
    test_cfg=dict(mode="slide", crop_size=(1024, 1024), stride=(512, 512), average="probabilities"),
)
