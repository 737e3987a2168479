"""What a config and the first look at its files show before a training starts.

Values that cannot be what they are taken for are told here: the doctor and the start of a training
ask the same functions. Nothing here imports torch.
"""

from .class_counts import following_classes
from .data_sets import (
    AREA,
    EVALUATION,
    LOADERS,
    OURS,
    TRAINING,
    DataSet,
    collect,
    entries_of,
    steps_of,
)
from .ids import IdSpace, judge_ids
from .releases import wrong_names, wrong_release
from .shape import check_shape
from .start import (
    inspect_config,
    inspect_data_set,
    inspect_source,
    inspect_start,
    inspect_test_files,
)
from .statistics import check_statistics, no_frames

__all__ = [
    "AREA",
    "EVALUATION",
    "LOADERS",
    "OURS",
    "TRAINING",
    "IdSpace",
    "DataSet",
    "check_shape",
    "check_statistics",
    "collect",
    "entries_of",
    "following_classes",
    "inspect_config",
    "inspect_data_set",
    "inspect_source",
    "inspect_start",
    "inspect_test_files",
    "judge_ids",
    "no_frames",
    "steps_of",
    "wrong_names",
    "wrong_release",
]
