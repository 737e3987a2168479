# HRDA (arXiv:2204.13132) with DAFormer's decoder on MiT-B5, for crops of 1024x1024.
norm_cfg = dict(type="BN", requires_grad=True)
model = dict(
    type="HRDAEncoderDecoder",
    scales=[1, 0.5],
    hr_crop_size=(512, 512),  # detail crop inside the context crop
    feature_scale=0.5,
    crop_coord_divisible=8,
    legacy_offset_range=False,  # True never draws the last position, as published runs did
    hr_slide_inference=True,
    data_preprocessor=dict(
        type="DomainDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(1024, 1024),
    ),
    backbone=dict(
        type="MiT",
        variant="b5",
        drop_path_rate=0.1,
        init_cfg=dict(type="BackboneWeights", checkpoint="mit_b5"),
    ),
    decode_head=dict(
        type="HRDAHead",
        single_scale_head="DAFormerHead",
        attention_classwise=True,
        hr_loss_weight=0.1,
        in_channels=[64, 128, 320, 512],
        in_index=[0, 1, 2, 3],
        channels=256,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        decoder_params=dict(
            embed_dims=256,
            embed_cfg=dict(type="mlp"),
            embed_neck_cfg=dict(type="mlp"),
            fusion_cfg=dict(
                type="aspp",
                sep=True,
                dilations=(1, 6, 12, 18),
                pool=False,
                act_cfg=dict(type="ReLU"),
                norm_cfg=norm_cfg,
            ),
        ),
        # avg_non_ignore=False: ignored pixels stay in the denominator, as published
        loss_decode=dict(type="PixelCrossEntropy", avg_non_ignore=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="slide", batched_slide=True, crop_size=(1024, 1024), stride=(512, 512)),
)
