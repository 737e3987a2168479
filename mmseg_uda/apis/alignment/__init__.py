"""DynAlign from Python and from the command line."""

from mmseg_uda.apis.alignment.align import Aligner, align
from mmseg_uda.apis.alignment.segmentor_source import SegmentorSource
from mmseg_uda.apis.alignment.settings import AlignmentSettings

__all__ = ["Aligner", "AlignmentSettings", "SegmentorSource", "align"]
