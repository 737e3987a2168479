# SegFormer (arXiv:2105.15203) with the wide all-MLP decoder, on MiT-B5.
norm_cfg = dict(type="BN", requires_grad=True)
model = dict(
    type="SlideEncoderDecoder",
    data_preprocessor=dict(
        type="DomainDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),  # no effect on larger crops; set it to the crop size for smaller ones
    ),
    backbone=dict(
        type="MiT",
        variant="b5",
        drop_path_rate=0.1,
        init_cfg=dict(type="BackboneWeights", checkpoint="mit_b5"),
    ),
    decode_head=dict(
        type="SegFormerHead",
        in_channels=[64, 128, 320, 512],
        in_index=[0, 1, 2, 3],
        channels=128,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        decoder_params=dict(embed_dim=768, conv_kernel_size=1),
        loss_decode=dict(type="PixelCrossEntropy", avg_non_ignore=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
