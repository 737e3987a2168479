"""Regions of images: their container, their codec, and where they come from."""

from mmseg_uda.foundation.masks.base import MaskProposer
from mmseg_uda.foundation.masks.mask_set import MaskSet
from mmseg_uda.foundation.masks.partitions import ConnectedComponentProposer, GridProposer
from mmseg_uda.foundation.masks.precomputed import PrecomputedMaskProposer, read_masks
from mmseg_uda.foundation.masks.sam import SamProposer, SegmentAnythingProposer
from mmseg_uda.foundation.masks.superpixels import FelzenszwalbProposer, SLICProposer

__all__ = [
    "ConnectedComponentProposer",
    "FelzenszwalbProposer",
    "GridProposer",
    "MaskProposer",
    "MaskSet",
    "PrecomputedMaskProposer",
    "SLICProposer",
    "SamProposer",
    "SegmentAnythingProposer",
    "read_masks",
]
