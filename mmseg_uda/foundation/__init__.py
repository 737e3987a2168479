"""Frozen foundation models behind small interfaces, built at first use."""

from mmseg_uda.foundation.base import CropClassifier, Detector
from mmseg_uda.foundation.clip import OpenClip, TransformersClip
from mmseg_uda.foundation.masks import (
    ConnectedComponentProposer,
    FelzenszwalbProposer,
    GridProposer,
    MaskProposer,
    MaskSet,
    PrecomputedMaskProposer,
    SamProposer,
    SegmentAnythingProposer,
    SLICProposer,
)
from mmseg_uda.foundation.owl import OwlDetector
from mmseg_uda.foundation.proposal_detector import ProposalDetector
from mmseg_uda.foundation.registry import CROP_CLASSIFIERS, DETECTORS, MASK_PROPOSERS
from mmseg_uda.foundation.toy import ToyScorer

__all__ = [
    "CROP_CLASSIFIERS",
    "DETECTORS",
    "MASK_PROPOSERS",
    "ConnectedComponentProposer",
    "CropClassifier",
    "Detector",
    "FelzenszwalbProposer",
    "GridProposer",
    "MaskProposer",
    "MaskSet",
    "OpenClip",
    "OwlDetector",
    "PrecomputedMaskProposer",
    "ProposalDetector",
    "SLICProposer",
    "SamProposer",
    "SegmentAnythingProposer",
    "ToyScorer",
    "TransformersClip",
]
