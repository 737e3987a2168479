"""Decoders: DAFormer's, SegFormer's, DeepLabV2, V3+, Mask2Former, and HRDA's wrapper."""

from mmseg_uda.models.heads.daformer import DAFormerHead
from mmseg_uda.models.heads.deeplabv3plus import AuxiliaryFCNHead, DeepLabV3PlusHead
from mmseg_uda.models.heads.dlv2 import DLV2Head
from mmseg_uda.models.heads.hrda import HRDAHead
from mmseg_uda.models.heads.mask2former import TorchMask2FormerHead
from mmseg_uda.models.heads.segformer import SegFormerHead

__all__ = [
    "AuxiliaryFCNHead",
    "DAFormerHead",
    "DLV2Head",
    "DeepLabV3PlusHead",
    "HRDAHead",
    "SegFormerHead",
    "TorchMask2FormerHead",
]
