"""From Python: build a segmentor, predict and align images, publish a student, read a config."""

from mmseg_uda.apis.alignment import Aligner, AlignmentSettings, align
from mmseg_uda.apis.config_view import explain_config
from mmseg_uda.apis.model_folder import publish_folder
from mmseg_uda.apis.prediction import Prediction, Predictor, predict
from mmseg_uda.apis.publishing import publish
from mmseg_uda.apis.segmentor import from_pretrained, init_segmentor, taxonomy_of
from mmseg_uda.engine.tta import Augmentations

__all__ = [
    "Aligner",
    "AlignmentSettings",
    "Augmentations",
    "Prediction",
    "Predictor",
    "align",
    "explain_config",
    "from_pretrained",
    "init_segmentor",
    "predict",
    "publish",
    "publish_folder",
    "taxonomy_of",
]
