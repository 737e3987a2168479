"""Decoders: DAFormer's context-aware fusion, SegFormer, DeepLabV2, and HRDA's two-scale wrapper."""

from mmseg_uda.models.heads.daformer import DAFormerHead
from mmseg_uda.models.heads.dlv2 import DLV2Head
from mmseg_uda.models.heads.hrda import HRDAHead
from mmseg_uda.models.heads.segformer import SegFormerHead

__all__ = ["DAFormerHead", "DLV2Head", "HRDAHead", "SegFormerHead"]
