"""Metrics; registers them."""

from .class_sets import AlignmentIoU, ClassSets
from .label_folders import FolderScores, evaluate_folder
from .multi_target_iou import MultiTargetIoU
from .streaming_iou import StreamingIoU, iou_scores

__all__ = [
    "AlignmentIoU",
    "ClassSets",
    "FolderScores",
    "MultiTargetIoU",
    "StreamingIoU",
    "evaluate_folder",
    "iou_scores",
]
