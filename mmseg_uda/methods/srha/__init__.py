"""SRHA (Neural Networks 2025): domain generalization by rearranged styles and aligned features."""

from mmseg_uda.methods.srha.alignment import (
    HierarchicalAlignmentLoss,
    global_distance,
    local_distance,
    regional_distance,
)
from mmseg_uda.methods.srha.consistency import js_consistency, js_divergence
from mmseg_uda.methods.srha.rearrangement import (
    SemanticRearrangement,
    dirichlet_weights,
    normalize_log_weights,
    rearrange,
)
from mmseg_uda.methods.srha.regions import Regions, RegionsBySize, find_regions
from mmseg_uda.methods.srha.srha import SRHA
from mmseg_uda.methods.srha.teacher import FrozenTeacher

__all__ = [
    "SRHA",
    "FrozenTeacher",
    "HierarchicalAlignmentLoss",
    "Regions",
    "RegionsBySize",
    "SemanticRearrangement",
    "dirichlet_weights",
    "find_regions",
    "global_distance",
    "js_consistency",
    "js_divergence",
    "local_distance",
    "normalize_log_weights",
    "rearrange",
    "regional_distance",
]
