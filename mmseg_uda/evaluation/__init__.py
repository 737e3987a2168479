"""Metrics; registers them."""

from .multi_target_iou import MultiTargetIoU
from .streaming_iou import StreamingIoU, iou_scores

__all__ = ["MultiTargetIoU", "StreamingIoU", "iou_scores"]
