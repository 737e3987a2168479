# DINOv2 ViT-B under the same decoder.
_base_ = ["light_dinov2_vitl14.py"]
model = dict(
    backbone=dict(
        arch="vit_base_patch14_dinov2",
        init_cfg=dict(checkpoint="vit_base_patch14_dinov2.lvd142m"),
    ),
    decode_head=dict(in_channels=768),
)
