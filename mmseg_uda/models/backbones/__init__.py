"""Encoders: Mix Transformer, plain vision transformers, networks in stages, the miniworld's."""

from mmseg_uda.models.backbones.mit import MIT_VARIANTS, FusedAttention, MiT
from mmseg_uda.models.backbones.nano import NanoBackbone
from mmseg_uda.models.backbones.staged import (
    InstanceStandardize,
    StagedBackbone,
    instance_standardize,
)
from mmseg_uda.models.backbones.timm_vit import TimmViT

__all__ = [
    "MIT_VARIANTS",
    "FusedAttention",
    "InstanceStandardize",
    "MiT",
    "NanoBackbone",
    "StagedBackbone",
    "TimmViT",
    "instance_standardize",
]
