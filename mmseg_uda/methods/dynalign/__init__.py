"""DynAlign (ICLR 2025): a segmenter's predictions in another taxonomy, without target labels."""

from mmseg_uda.methods.dynalign.decision import Decision, candidate_probabilities, decide
from mmseg_uda.methods.dynalign.fusion import fuse
from mmseg_uda.methods.dynalign.painting import assemble, default_layer, nearest
from mmseg_uda.methods.dynalign.votes import class_histogram, majority, mean_probabilities

__all__ = [
    "Decision",
    "assemble",
    "candidate_probabilities",
    "class_histogram",
    "decide",
    "default_layer",
    "fuse",
    "majority",
    "mean_probabilities",
    "nearest",
]
