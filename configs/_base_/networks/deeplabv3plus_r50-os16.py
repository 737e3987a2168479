# DeepLabV3+ on a ResNet-50 in stages (SRHA): standardised behind a frozen stem, output stride 16.
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
        size=(768, 768),  # no effect on larger crops; set it to the crop size for smaller ones
    ),
    backbone=dict(
        type="StagedBackbone",
        arch="resnet50",
        output_stride=16,
        frozen_stages=("stem",),
        standardize=True,
        init_cfg=dict(type="BackboneWeights", checkpoint="resnet50_imagenet1k_v1"),
    ),
    decode_head=dict(
        type="DeepLabV3PlusHead",
        in_channels=[256, 2048],
        in_index=[0, 3],
        channels=256,
        low_channels=48,
        dilations=(6, 12, 18),
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=True,
        # the mean over labelled pixels
        loss_decode=dict(type="PixelCrossEntropy", avg_non_ignore=True, loss_weight=1.0),
    ),
    auxiliary_head=dict(
        type="AuxiliaryFCNHead",
        in_channels=1024,
        in_index=2,
        channels=512,
        loss_resolution="feature",
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=True,
        loss_decode=dict(type="PixelCrossEntropy", avg_non_ignore=True, loss_weight=0.4),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
# Other backbones in its place: a config says ``model = _base_.mobilenetv2``.
resnet101 = dict(
    backbone=dict(
        arch="resnet101",
        init_cfg=dict(type="BackboneWeights", checkpoint="resnet101_imagenet1k_v1"),
    ),
)
mobilenetv2 = dict(
    backbone=dict(
        arch="mobilenet_v2",
        init_cfg=dict(type="BackboneWeights", checkpoint="mobilenet_v2_imagenet1k_v1"),
    ),
    decode_head=dict(in_channels=[32, 1280]),
    auxiliary_head=dict(in_channels=320),
)
shufflenetv2 = dict(
    backbone=dict(
        arch="shufflenet_v2_x1_0",
        init_cfg=dict(type="BackboneWeights", checkpoint="shufflenet_v2_x1_0_imagenet1k_v1"),
    ),
    decode_head=dict(in_channels=[116, 1024]),
    auxiliary_head=dict(in_channels=464),
)
# The baselines train the whole network, without standardisation behind the stem.
baseline = dict(frozen_stages=(), standardize=False)
