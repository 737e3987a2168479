"""Looking through all files of a data set before a training trips over one of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_uda.errors import UserError
from mmseg_uda.pool import map_in_processes
from mmseg_uda.progress import track
from mmseg_uda.taxonomy import DataLocation, load_taxonomy

from .conversion import Counts
from .ids import LabelIds
from .reading import count_ids, read_depth, read_image, read_label, to_train_ids


@dataclass(frozen=True)
class FileReport:
    """What decoding one image with its label told.

    Attributes:
        image: Name of the image, relative to the image folder.
        digest: Hash of the image's pixels, which are the same in another file format or with
            other metadata; None if the image cannot be read.
        low: Lowest value of the image in 8 bits; None if it cannot be read.
        high: Highest value.
        ids: Pixels by id as the label file holds them; None without a readable label.
        train_ids: Pixels by trainId, the data set's label map applied; None if the label is wrong.
        error: What is wrong with image, label or depth file.
    """

    image: str
    digest: str | None = None
    low: int | None = None
    high: int | None = None
    ids: Counts | None = None
    train_ids: Counts | None = None
    error: UserError | None = None


def find_broken_files(dataset_cfg: Mapping[str, Any], nproc: int = 4) -> Iterator[UserError]:
    """Decodes every image and label of a data set and yields an error for each broken pair.

    Args:
        dataset_cfg: Config of one of our data sets.
        nproc: Number of processes.

    Raises:
        UserError: There are no images at all.
    """
    for report in inspect_files(dataset_cfg, nproc):
        if report.error is not None:
            yield report.error


def inspect_files(
    dataset_cfg: Mapping[str, Any], nproc: int = 4, depth: bool = False
) -> Iterator[FileReport]:
    """Decodes every image and label of a data set, with a progress bar.

    Args:
        dataset_cfg: Config of one of our data sets.
        nproc: Number of processes.
        depth: Decode the depth files, too.

    Raises:
        UserError: There are no images at all.
    """
    location = DataLocation.create(**dataset_cfg)
    taxonomy = load_taxonomy(dataset_cfg.get("taxonomy", "cityscapes19"))
    meaning = LabelIds.of(taxonomy, dataset_cfg.get("label_map"))
    names = location.images()
    inspect = partial(_inspect, location=location, meaning=meaning, depth=depth)
    title = f"Checking {location.title}"
    if nproc <= 1:
        yield from map(inspect, track(names, title))
        return
    yield from track(map_in_processes(inspect, names, nproc), title, len(names))


def _inspect(name: str, location: DataLocation, meaning: LabelIds, depth: bool) -> FileReport:
    report = FileReport(name)
    try:
        image = read_image(str(location.image_folder / name), thorough=True)
        low, high = int(image.min()), int(image.max())
        report = replace(report, digest=_digest(image), low=low, high=high)
        if depth:
            read_depth(str(location.depth_folder / location.depth_name(name)))
        if location.label_folder is None:
            return report
        path = str(Path(location.label_folder, location.label_name(name)))
        label = read_label(path)
        report = replace(report, ids=_counts(label))
        shape, picture = (image.shape[0], image.shape[1]), str(location.image_folder / name)
        mapped = to_train_ids(label, path, meaning, shape, picture)
    except UserError as error:
        return replace(report, error=error)
    return replace(report, train_ids=_counts(mapped))


def _digest(image: np.ndarray) -> str:
    size = repr(image.shape).encode()
    digest = hashlib.blake2b(size, digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _counts(label: np.ndarray) -> Counts:
    pixels = count_ids(label)
    return {int(i): int(pixels[i]) for i in np.flatnonzero(pixels)}
