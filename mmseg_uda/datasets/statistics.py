"""How many pixels of each class every label file holds.

Rare class sampling needs this. The JSON files of the converters (``sample_class_stats.json``, the
format of DAFormer) are used when they cover the data set. Otherwise the labels are counted once and
the counts kept beside the data, or in the user's cache directory when the data set is read-only.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mmengine.dist import barrier, is_main_process

from mmseg_uda.errors import UserError
from mmseg_uda.files import write_json
from mmseg_uda.labels import (
    PUBLISHED_FILE,
    Counts,
    cache_files,
    cached_counts,
    fingerprint_of,
    published_counts,
    read_label,
)
from mmseg_uda.progress import track

if TYPE_CHECKING:
    from .taxonomy_dataset import TaxonomyDataset

MIN_PARALLEL = 200


def class_pixel_counts(dataset: TaxonomyDataset) -> np.ndarray:
    """Counts the pixels per sample and class at native label resolution, label map applied.

    Returns:
        int64, (number of samples, number of classes).

    Raises:
        UserError: A label file is damaged or holds an id outside the taxonomy.
    """
    paths = [dataset.label_path(i) for i in range(len(dataset))]
    names = _relative_names(paths, dataset.location.label_folder)
    root = Path(dataset.location.root)
    per_file = None if dataset.reads_raw_ids else published_counts(root / PUBLISHED_FILE, names)
    if per_file is None:
        per_file = _cached(root, paths, names)
    classes = len(dataset.taxonomy)
    counts = np.zeros((len(paths), classes), np.int64)
    for row, path, ids in zip(counts, paths, per_file, strict=True):
        for raw_id, pixels in ids.items():
            train_id = int(dataset.label_lookup[raw_id])
            if train_id < classes:
                row[train_id] += pixels
            elif train_id != dataset.ignore_index:
                raise UserError(
                    f"{path} holds id {raw_id}, which is outside the taxonomy ({classes} classes).",
                    fix="convert the labels to trainIds, or set the data set's label_map",
                )
    return counts


def count_file(path: str) -> Counts:
    """Counts the pixels of each id in one label file; ids without a pixel are left out."""
    counts = np.bincount(read_label(path).ravel(), minlength=256)
    return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}


def _relative_names(paths: Sequence[str], folder: Path | None) -> list[str]:
    return [Path(path).relative_to(str(folder)).as_posix() for path in paths]


def _cached(root: Path, paths: list[str], names: list[str]) -> list[Counts]:
    """Returns counts from our cache file; counts the labels and writes it if there is none."""
    candidates = cache_files(root, fingerprint_of(paths, names))
    if is_main_process() and not any(path.is_file() for path in candidates):
        counts = list(_count_all(paths))
        content = {"counts": dict(zip(names, counts, strict=True))}
        try:
            write_json(candidates[0], content, indent=None)
        except OSError:
            write_json(candidates[1], content, indent=None)
    barrier()
    path = next(path for path in candidates if path.is_file())
    return cached_counts(path, names)


def _count_all(paths: list[str]) -> Iterator[Counts]:
    description = f"Counting classes in {len(paths)} label files"
    if len(paths) < MIN_PARALLEL:
        yield from map(count_file, track(paths, description))
        return
    with multiprocessing.Pool(min(os.cpu_count() or 1, 16)) as pool:
        yield from track(pool.imap(count_file, paths, chunksize=16), description, len(paths))
