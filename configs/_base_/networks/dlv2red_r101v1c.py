# DeepLabV2 with two of its four classifiers, as the AdaptSegNet line of work trains it.
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
        type="ResNetV1c",
        depth=101,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        norm_cfg=norm_cfg,
        norm_eval=False,
        style="pytorch",
        contract_dilation=True,
        init_cfg=dict(type="BackboneWeights", checkpoint="resnet101_v1c"),
    ),
    decode_head=dict(
        type="DLV2Head",
        in_channels=2048,
        in_index=3,
        dilations=(6, 12),
        num_classes=19,
        align_corners=False,
        loss_decode=dict(type="PixelCrossEntropy", avg_non_ignore=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
