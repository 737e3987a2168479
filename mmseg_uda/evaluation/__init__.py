"""Metrics; registers them."""

from .streaming_iou import StreamingIoU, iou_scores

__all__ = ["StreamingIoU", "iou_scores"]
