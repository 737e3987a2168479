# HRDA with the reduced DeepLabV2 on ResNet-101-V1c, for crops of 1024x1024.
norm_cfg = dict(type="BN", requires_grad=True)
model = dict(
    type="HRDAEncoderDecoder",
    scales=[1, 0.5],
    hr_crop_size=(512, 512),  # detail crop inside the context crop
    feature_scale=0.5,
    crop_coord_divisible=None,  # 16, which aligns both scales; published runs: 8
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
        type="HRDAHead",
        single_scale_head="DLV2Head",
        attention_classwise=True,
        hr_loss_weight=0.1,
        in_channels=2048,
        in_index=3,
        dilations=(6, 12),
        num_classes=19,
        align_corners=False,
        loss_decode=dict(type="PixelCrossEntropy", avg_non_ignore=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="slide", batched_slide=True, crop_size=(1024, 1024), stride=(512, 512)),
)
