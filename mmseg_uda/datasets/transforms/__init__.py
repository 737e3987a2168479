"""Transforms that treat the image and every per-pixel field alike."""

from .depth import LoadRemappedDepth, remap_table
from .geometry import CropFields, FlipFields, ResizeFields
from .loading import LoadFrame, LoadTrainIds, MarkValid
from .packing import PackFields

__all__ = [
    "CropFields",
    "FlipFields",
    "LoadFrame",
    "LoadRemappedDepth",
    "LoadTrainIds",
    "MarkValid",
    "PackFields",
    "ResizeFields",
    "remap_table",
]
