"""Encoders: Mix Transformer, networks in stages, and the miniworld's small convolutional one."""

from mmseg_uda.models.backbones.mit import MIT_VARIANTS, FusedAttention, MiT
from mmseg_uda.models.backbones.nano import NanoBackbone
from mmseg_uda.models.backbones.staged import (
    InstanceStandardize,
    StagedBackbone,
    instance_standardize,
)

__all__ = [
    "MIT_VARIANTS",
    "FusedAttention",
    "InstanceStandardize",
    "MiT",
    "NanoBackbone",
    "StagedBackbone",
    "instance_standardize",
]
