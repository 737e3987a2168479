"""DynAlign from Python and from the command line."""

from mmseg_uda.apis.alignment.align import Aligner, align
from mmseg_uda.apis.alignment.folder import AlignmentJob, align_folder
from mmseg_uda.apis.alignment.segmentor_source import SegmentorSource, source_of_checkpoint
from mmseg_uda.apis.alignment.settings import AlignmentSettings

__all__ = [
    "AlignmentJob",
    "AlignmentSettings",
    "Aligner",
    "SegmentorSource",
    "align",
    "align_folder",
    "source_of_checkpoint",
]
