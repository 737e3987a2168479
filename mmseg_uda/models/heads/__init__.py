"""Decoders: DAFormer's fusion, SegFormer, DeepLabV2 and V3+, and HRDA's two-scale wrapper."""

from mmseg_uda.models.heads.daformer import DAFormerHead
from mmseg_uda.models.heads.deeplabv3plus import AuxiliaryFCNHead, DeepLabV3PlusHead
from mmseg_uda.models.heads.dlv2 import DLV2Head
from mmseg_uda.models.heads.hrda import HRDAHead
from mmseg_uda.models.heads.segformer import SegFormerHead

__all__ = [
    "AuxiliaryFCNHead",
    "DAFormerHead",
    "DLV2Head",
    "DeepLabV3PlusHead",
    "HRDAHead",
    "SegFormerHead",
]
