"""Pictures and trackers: debug panels, predictions, examples for the report, log backends."""

from mmseg_uda.visualization.debug_panels import DebugPanelsHook
from mmseg_uda.visualization.example_pictures import ExamplePicturesHook
from mmseg_uda.visualization.log_backends import MlflowBackend, WandbBackend
from mmseg_uda.visualization.panel_picture import panel_picture
from mmseg_uda.visualization.prediction_pictures import PredictionPicturesHook, save_colored
from mmseg_uda.visualization.snapshot import Snapshot

__all__ = [
    "DebugPanelsHook",
    "ExamplePicturesHook",
    "MlflowBackend",
    "PredictionPicturesHook",
    "Snapshot",
    "WandbBackend",
    "panel_picture",
    "save_colored",
]
