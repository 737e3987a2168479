"""How many pixels of each class every label file holds.

Rare class sampling needs this. The JSON files of the converters (``sample_class_stats.json``, the
format of DAFormer) are used when they cover the data set. Otherwise the labels are counted once and
the counts kept beside the data, or in the user's cache directory when the data set is read-only.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from mmengine.dist import barrier, is_main_process

from mmseg_uda.errors import UserError
from mmseg_uda.files import write_json
from mmseg_uda.labels import PUBLISHED_FILE, Counts, read_label
from mmseg_uda.progress import track

if TYPE_CHECKING:
    from .taxonomy_dataset import TaxonomyDataset

CACHE_VARIABLE = "MMSEG_UDA_CACHE"
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
    per_file = None if dataset.reads_raw_ids else _published(Path(dataset.location.root), names)
    if per_file is None:
        per_file = _cached(Path(dataset.location.root), paths, names)
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


def _published(root: Path, names: list[str]) -> list[Counts] | None:
    """Returns the converters' counts in the order of names, or None if they do not cover them."""
    path = root / PUBLISHED_FILE
    if not path.is_file():
        return None
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        wanted = set(names)
        found: dict[str, Counts] = {}
        for entry in entries:
            name = _longest_suffix(entry["file"], wanted)
            if name is not None:
                found[name] = {int(k): int(v) for k, v in entry.items() if k != "file"}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a list of class counts: {error}.",
            fix="run the data set's converter again, or delete the file to have it counted anew",
        ) from error
    if len(found) < len(wanted):
        return None
    return [found[name] for name in names]


def _longest_suffix(path: str, names: set[str]) -> str | None:
    """Finds the name that a path ends with.

    The files may have been written on another machine, so only the end of a path counts; taking
    the longest keeps equal base names in two folders apart.
    """
    parts = PurePosixPath(path.replace("\\", "/")).parts
    for start in range(len(parts)):
        name = "/".join(parts[start:])
        if name in names:
            return name
    return None


def _cached(root: Path, paths: list[str], names: list[str]) -> list[Counts]:
    """Returns counts from our cache file; counts the labels and writes it if there is none."""
    file_name = f"class_stats_{_fingerprint(paths, names)}.json"
    user_dir = _user_cache() / hashlib.sha1(str(root.resolve()).encode()).hexdigest()[:12]
    candidates = [root / file_name, user_dir / file_name]
    if is_main_process() and not any(path.is_file() for path in candidates):
        counts = list(_count_all(paths))
        content = {"counts": dict(zip(names, counts, strict=True))}
        try:
            write_json(candidates[0], content, indent=None)
        except OSError:
            write_json(candidates[1], content, indent=None)
    barrier()
    path = next(path for path in candidates if path.is_file())
    stored = json.loads(path.read_text(encoding="utf-8"))["counts"]
    return [{int(k): v for k, v in stored[name].items()} for name in names]


def _count_all(paths: list[str]) -> Iterator[Counts]:
    description = f"Counting classes in {len(paths)} label files"
    if len(paths) < MIN_PARALLEL:
        yield from map(count_file, track(paths, description))
        return
    with multiprocessing.Pool(min(os.cpu_count() or 1, 16)) as pool:
        yield from track(pool.imap(count_file, paths, chunksize=16), description, len(paths))


def _fingerprint(paths: list[str], names: list[str]) -> str:
    """Returns a value that changes when a label file is added, removed or written."""
    digest = hashlib.sha1()
    for path, name in zip(paths, names, strict=True):
        stat = os.stat(path)
        digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _user_cache() -> Path:
    if CACHE_VARIABLE in os.environ:
        return Path(os.environ[CACHE_VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mmseg_uda"
