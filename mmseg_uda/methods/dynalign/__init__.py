"""DynAlign (ICLR 2025): a segmenter's predictions in another taxonomy, without target labels."""

from mmseg_uda.methods.dynalign.decision import Decision, candidate_probabilities, decide
from mmseg_uda.methods.dynalign.engine import CountedScorer, Engine
from mmseg_uda.methods.dynalign.fusion import fuse
from mmseg_uda.methods.dynalign.image import Aligned, View, align_image
from mmseg_uda.methods.dynalign.options import PRESETS, Options, preset, working_shape
from mmseg_uda.methods.dynalign.outputs import (
    Outputs,
    label_folder,
    read_label_map,
    semantic_map,
    ssa_content,
)
from mmseg_uda.methods.dynalign.painting import assemble, default_layer, nearest
from mmseg_uda.methods.dynalign.pipeline import (
    Pipeline,
    alignment_summary,
    image_summary,
)
from mmseg_uda.methods.dynalign.records import fingerprint
from mmseg_uda.methods.dynalign.relabel import (
    Features,
    Relabelled,
    Vocabulary,
    confidence_map,
    relabel,
)
from mmseg_uda.methods.dynalign.retraining import Retraining
from mmseg_uda.methods.dynalign.sharding import fold, place, shard
from mmseg_uda.methods.dynalign.sources import LabelFolder, SourcePrediction, SourcePredictor
from mmseg_uda.methods.dynalign.stages import Run
from mmseg_uda.methods.dynalign.votes import class_histogram, majority, mean_probabilities

__all__ = [
    "PRESETS",
    "Aligned",
    "CountedScorer",
    "Decision",
    "Engine",
    "Features",
    "LabelFolder",
    "Options",
    "Outputs",
    "Pipeline",
    "Relabelled",
    "Retraining",
    "Run",
    "SourcePrediction",
    "SourcePredictor",
    "View",
    "Vocabulary",
    "align_image",
    "alignment_summary",
    "assemble",
    "candidate_probabilities",
    "class_histogram",
    "confidence_map",
    "decide",
    "default_layer",
    "fingerprint",
    "fold",
    "fuse",
    "image_summary",
    "label_folder",
    "majority",
    "mean_probabilities",
    "nearest",
    "place",
    "preset",
    "read_label_map",
    "relabel",
    "semantic_map",
    "shard",
    "ssa_content",
    "working_shape",
]
