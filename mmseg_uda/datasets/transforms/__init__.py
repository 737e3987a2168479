"""Transforms that treat the image and every per-pixel field alike."""

from .geometry import CropFields, FlipFields, ResizeFields
from .loading import LoadFrame, LoadTrainIds, MarkValid
from .packing import PackFields

__all__ = [
    "CropFields",
    "FlipFields",
    "LoadFrame",
    "LoadTrainIds",
    "MarkValid",
    "PackFields",
    "ResizeFields",
]
