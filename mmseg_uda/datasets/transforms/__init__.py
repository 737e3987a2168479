"""Transforms that treat the image and every per-pixel field alike."""

from .appearance import RandomColorJitter, RandomGaussianBlur
from .confidence import LoadConfidence
from .depth import LoadRemappedDepth, remap_table
from .evaluation import CenterCropPad, ResizeToScore
from .geometry import CropFields, FlipFields, ResizeFields
from .loading import LoadFrame, LoadTrainIds, MarkValid
from .packing import PackFields
from .scale_crop import RandomScaleCrop

__all__ = [
    "CenterCropPad",
    "CropFields",
    "FlipFields",
    "LoadConfidence",
    "LoadFrame",
    "LoadRemappedDepth",
    "LoadTrainIds",
    "MarkValid",
    "PackFields",
    "RandomColorJitter",
    "RandomGaussianBlur",
    "RandomScaleCrop",
    "ResizeFields",
    "ResizeToScore",
    "remap_table",
]
