# DeepLabV3+ on a MobileNetV2 in stages, with a decoder of half the published width and the
# dilations that crops of 160x160 have room for.
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
        size=(160, 160),
    ),
    backbone=dict(
        type="StagedBackbone",
        arch="mobilenet_v2",
        output_stride=16,
        frozen_stages=(),
        standardize=False,
        init_cfg=dict(type="BackboneWeights", checkpoint="mobilenet_v2_imagenet1k_v1"),
    ),
    decode_head=dict(
        type="DeepLabV3PlusHead",
        in_channels=[32, 1280],
        in_index=[0, 3],
        channels=128,
        low_channels=32,
        dilations=(2, 4, 6),
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="PixelCrossEntropy", avg_non_ignore=True, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
# The same with HRDA, for crops of 256x256: a config says ``model = _base_.hrda_network``.
hrda_network = dict(
    type="HRDAEncoderDecoder",
    scales=[1, 0.5],
    hr_crop_size=(128, 128),
    feature_scale=0.5,
    data_preprocessor=dict(size=(256, 256)),
    decode_head=dict(
        type="HRDAHead",
        single_scale_head="DeepLabV3PlusHead",
        output_stride=8,  # of MobileNetV2's first stage; a ResNet's has 4
        hr_loss_weight=0.1,
    ),
)
