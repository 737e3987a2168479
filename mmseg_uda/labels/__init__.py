"""Image and label files: reading them, and converting labels as published to trainIds.

Nothing here imports torch, so that the converters start at once.
"""

from .check import find_broken_files
from .cityscapes import convert_cityscapes
from .conversion import PUBLISHED_FILE, Counts
from .gta import convert_gta, convert_gta16
from .reading import count_ids, read_depth, read_image, read_label, read_train_ids
from .synthia import convert_synthia

__all__ = [
    "PUBLISHED_FILE",
    "Counts",
    "convert_cityscapes",
    "convert_gta",
    "convert_gta16",
    "convert_synthia",
    "count_ids",
    "find_broken_files",
    "read_depth",
    "read_image",
    "read_label",
    "read_train_ids",
]
