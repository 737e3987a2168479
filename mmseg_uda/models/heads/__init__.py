"""Decoders: DAFormer's, SegFormer's, DeepLab's, Mask2Former, VFM-UDA's, and HRDA's wrapper."""

from mmseg_uda.models.heads.daformer import DAFormerHead
from mmseg_uda.models.heads.deeplabv3plus import AuxiliaryFCNHead, DeepLabV3PlusHead
from mmseg_uda.models.heads.dlv2 import DLV2Head
from mmseg_uda.models.heads.hrda import HRDAHead
from mmseg_uda.models.heads.light import LightHead
from mmseg_uda.models.heads.linear import LinearHead
from mmseg_uda.models.heads.mask2former import TorchMask2FormerHead
from mmseg_uda.models.heads.pyramid import PyramidHead
from mmseg_uda.models.heads.segformer import SegFormerHead

__all__ = [
    "AuxiliaryFCNHead",
    "DAFormerHead",
    "DLV2Head",
    "DeepLabV3PlusHead",
    "HRDAHead",
    "LightHead",
    "LinearHead",
    "PyramidHead",
    "SegFormerHead",
    "TorchMask2FormerHead",
]
