"""Image and label files: reading them, and converting labels as published to trainIds.

Nothing here imports torch, so that the converters start at once.
"""

from .camvid import convert_camvid
from .check import FileReport, find_broken_files, inspect_files
from .cityscapes import convert_cityscapes
from .conversion import PUBLISHED_FILE, Counts
from .gta import convert_gta, convert_gta16
from .headers import Header, read_header, read_headers
from .ids import LabelIds
from .reading import (
    count_ids,
    read_depth,
    read_image,
    read_label,
    read_train_ids,
    read_whole,
)
from .sizes import fitted_size
from .split_lists import write_split_lists
from .statistics_files import (
    cache_files,
    cached_counts,
    fingerprint_of,
    published_counts,
)
from .synthia import convert_synthia

__all__ = [
    "PUBLISHED_FILE",
    "Counts",
    "FileReport",
    "Header",
    "LabelIds",
    "cache_files",
    "cached_counts",
    "convert_camvid",
    "convert_cityscapes",
    "convert_gta",
    "convert_gta16",
    "convert_synthia",
    "count_ids",
    "find_broken_files",
    "fingerprint_of",
    "fitted_size",
    "inspect_files",
    "published_counts",
    "read_depth",
    "read_header",
    "read_headers",
    "read_image",
    "read_label",
    "read_train_ids",
    "read_whole",
    "write_split_lists",
]
