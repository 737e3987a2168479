"""Encoders: Mix Transformer and the miniworld's small convolutional network."""

from mmseg_uda.models.backbones.mit import MIT_VARIANTS, FusedAttention, MiT
from mmseg_uda.models.backbones.nano import NanoBackbone

__all__ = ["MIT_VARIANTS", "FusedAttention", "MiT", "NanoBackbone"]
