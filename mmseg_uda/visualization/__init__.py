"""Pictures: coloured predictions."""

from mmseg_uda.visualization.prediction_pictures import PredictionPicturesHook, save_colored

__all__ = ["PredictionPicturesHook", "save_colored"]
