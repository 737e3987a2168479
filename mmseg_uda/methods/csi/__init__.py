"""CSI (Lim & Kim, ECCV 2024): inconsistent taxonomies, relabelled with vision-language models."""

from mmseg_uda.methods.csi.boxes import best_prompt, count_pixels, round_boxes, select_boxes
from mmseg_uda.methods.csi.mapping import Entry, Phases, read_mapping, read_phases
from mmseg_uda.methods.csi.relabel import Region, majority_classes, paste, resolve_source
from mmseg_uda.methods.csi.scoring import accept_crops, crop_decision
from mmseg_uda.methods.csi.taxonomy_relabeling import TaxonomyRelabeling

__all__ = [
    "Entry",
    "Phases",
    "Region",
    "TaxonomyRelabeling",
    "accept_crops",
    "best_prompt",
    "count_pixels",
    "crop_decision",
    "majority_classes",
    "paste",
    "read_mapping",
    "read_phases",
    "resolve_source",
    "round_boxes",
    "select_boxes",
]
