"""Inference from Python: build a segmentor, predict images, publish a student."""

from mmseg_uda.apis.prediction import Prediction, Predictor, predict
from mmseg_uda.apis.publishing import publish
from mmseg_uda.apis.segmentor import init_segmentor, taxonomy_of
from mmseg_uda.engine.tta import Augmentations

__all__ = [
    "Augmentations",
    "Prediction",
    "Predictor",
    "init_segmentor",
    "predict",
    "publish",
    "taxonomy_of",
]
