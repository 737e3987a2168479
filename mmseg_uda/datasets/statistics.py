"""How many pixels of each class every label file holds.

Rare class sampling needs this. The JSON files of the converters (``sample_class_stats.json``, the
format of DAFormer) are used when they cover the data set. Otherwise the labels are counted once and
the counts kept beside the data, or in the user's cache directory when the data set is read-only.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mmengine.logging import print_log

from mmseg_uda.findings import warnings_of
from mmseg_uda.inspection import IdSpace, judge_ids
from mmseg_uda.labels import PUBLISHED_FILE, Counts, published_counts, read_label
from mmseg_uda.labels.statistics_files import counts_in

from .label_cache import cached_per_label, label_names

if TYPE_CHECKING:
    from .taxonomy_dataset import TaxonomyDataset


def class_pixel_counts(dataset: TaxonomyDataset) -> np.ndarray:
    """Counts the pixels per sample and class at native label resolution, label map applied.

    Returns:
        int64, (number of samples, number of classes).

    Raises:
        UserError: A label file is damaged or holds an id outside the taxonomy.
    """
    paths, per_file = _raw_counts(dataset)
    tell_ids(dataset, dict(zip(paths, per_file, strict=True)))
    classes = len(dataset.taxonomy)
    counts = np.zeros((len(paths), classes), np.int64)
    for row, ids in zip(counts, per_file, strict=True):
        for raw_id, pixels in ids.items():
            train_id = int(dataset.label_ids.lookup[raw_id])
            if train_id < classes:
                row[train_id] += pixels
    return counts


def tell_ids(dataset: TaxonomyDataset, counts: Mapping[str, Counts]) -> None:
    """Logs what is doubtful about the ids of a data set: a class without a pixel, say.

    Args:
        dataset: The data set.
        counts: Label path -> pixels by id in the file, of all labels.

    Raises:
        UserError: A label holds an id outside the taxonomy.
    """
    title = f"{dataset.location.title} ({dataset.location.image_folder})"
    kind = type(dataset).__name__
    space = IdSpace(title, dataset.taxonomy, dataset.label_ids.label_map, kind)
    for finding in warnings_of(judge_ids(space, counts, len(counts))):
        print_log(str(finding), logger="current", level=logging.WARNING)


def _raw_counts(dataset: TaxonomyDataset) -> tuple[list[str], list[Counts]]:
    paths, names = label_names(dataset)
    published = Path(dataset.location.root) / PUBLISHED_FILE
    per_file = None if dataset.label_ids.space else published_counts(published, names)
    if per_file is None:
        description = "Counting classes in {} label files"
        per_file = cached_per_label(
            dataset, "class_stats", "counts", count_file, description, counts_in
        )
    return paths, per_file


def count_file(path: str) -> Counts:
    """Counts the pixels of each id in one label file; ids without a pixel are left out."""
    counts = np.bincount(read_label(path).ravel(), minlength=256)
    return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}
