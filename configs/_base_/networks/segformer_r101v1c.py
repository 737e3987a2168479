# SegFormer's wide all-MLP decoder on ResNet-101-V1c.
_base_ = ["./segformer_mitb5.py"]
model = dict(
    backbone=dict(
        _delete_=True,
        type="ResNetV1c",
        depth=101,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        norm_cfg=_base_.norm_cfg,
        norm_eval=False,
        style="pytorch",
        contract_dilation=True,
        init_cfg=dict(type="BackboneWeights", checkpoint="resnet101_v1c"),
    ),
    decode_head=dict(in_channels=[256, 512, 1024, 2048]),
)
