"""CDDA: class-wise depth-distribution similarity."""

from mmseg_uda.methods.cdda.bank import DepthBank
from mmseg_uda.methods.cdda.bank_builder import build_bank, count_bank
from mmseg_uda.methods.cdda.decision import decide
from mmseg_uda.methods.cdda.depth_similarity import DepthSimilarity
from mmseg_uda.methods.cdda.drawing import BankDraws
from mmseg_uda.methods.cdda.guidance import (
    class_probability,
    depth_bins,
    guidance_loss,
    missing_classes,
    overlaps,
    soft_label,
    triggered,
)
from mmseg_uda.methods.cdda.histogram import depth_histogram
from mmseg_uda.methods.cdda.pruned_search import PrunedSearch
from mmseg_uda.methods.cdda.schedule import decay_count, threshold
from mmseg_uda.methods.cdda.search import Match, ResidentSearch
from mmseg_uda.methods.cdda.similarity import class_similarity, composition, image_similarity
from mmseg_uda.methods.cdda.weights import ramp, reweight

__all__ = [
    "BankDraws",
    "DepthBank",
    "DepthSimilarity",
    "Match",
    "PrunedSearch",
    "ResidentSearch",
    "build_bank",
    "class_probability",
    "class_similarity",
    "composition",
    "count_bank",
    "decay_count",
    "decide",
    "depth_bins",
    "depth_histogram",
    "guidance_loss",
    "image_similarity",
    "missing_classes",
    "overlaps",
    "ramp",
    "reweight",
    "soft_label",
    "threshold",
    "triggered",
]
