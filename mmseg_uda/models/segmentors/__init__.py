"""Segmentors: batched sliding windows, and HRDA's two scales."""

from mmseg_uda.models.segmentors.hrda import HRDAEncoderDecoder
from mmseg_uda.models.segmentors.slide import SlideEncoderDecoder

__all__ = ["HRDAEncoderDecoder", "SlideEncoderDecoder"]
