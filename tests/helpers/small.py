"""Small segmentors for tests, and published ones without memory."""

from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmseg.registry import MODELS

import mmseg_uda.datasets
import mmseg_uda.models  # noqa: F401

MODEL_CONFIGS = Path(__file__).parents[2] / "configs" / "_base_" / "networks"
CHANNELS = [8, 16, 24, 32]


def daformer_head(fusion=None, **options):
    return dict(
        type="DAFormerHead",
        in_channels=CHANNELS,
        channels=16,
        num_classes=5,
        norm_cfg=dict(type="BN"),
        decoder_params=dict(
            embed_dims=16,
            embed_cfg=dict(type="mlp"),
            fusion_cfg=fusion or dict(type="conv", kernel_size=1, norm_cfg=dict(type="BN")),
        ),
        **options,
    )


def dlv2_head(**options):
    return dict(
        type="DLV2Head", in_channels=16, in_index=1, dilations=(1, 2), num_classes=5, **options
    )


def nano(**options):
    return dict(type="NanoBackbone", stem_channels=8, channels=CHANNELS, **options)


def segmentor(head=None, test_cfg=None, **options):
    """A SlideEncoderDecoder of a few thousand parameters, in eval mode."""
    cfg = dict(
        type="SlideEncoderDecoder",
        backbone=nano(),
        decode_head=head or daformer_head(),
        test_cfg=test_cfg or dict(mode="whole"),
        train_cfg=dict(),
        **options,
    )
    return MODELS.build(ConfigDict(cfg)).eval()


def hrda(head=None, head_options=None, test_cfg=None, **options):
    """An HRDAEncoderDecoder with detail crops of 32 pixels, in eval mode."""
    head = {**(head or daformer_head()), "hr_loss_weight": 0.1, **(head_options or {})}
    head["single_scale_head"] = head["type"]
    cfg = dict(
        type="HRDAEncoderDecoder",
        backbone=nano(),
        decode_head={**head, "type": "HRDAHead"},
        hr_crop_size=(32, 32),
        test_cfg=test_cfg or dict(mode="whole"),
        train_cfg=dict(),
    )
    return MODELS.build(ConfigDict({**cfg, **options})).eval()


def published(name):
    """The segmentor of a base config, on the meta device."""
    with torch.device("meta"):
        return MODELS.build(Config.fromfile(MODEL_CONFIGS / f"{name}.py").model)
