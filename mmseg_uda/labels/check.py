"""Looking through all files of a data set before a training trips over one of them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_uda.errors import UserError
from mmseg_uda.progress import track
from mmseg_uda.taxonomy import DEPTH_LOADER, DataLocation, Taxonomy, load_taxonomy

from .reading import read_depth, read_image, read_train_ids


def find_broken_files(dataset_cfg: Mapping[str, Any], nproc: int = 4) -> Iterator[UserError]:
    """Decodes every image, label and depth map and yields an error for each broken sample.

    Args:
        dataset_cfg: Config of one of our data sets.
        nproc: Number of processes.

    Raises:
        UserError: There are no images at all.
    """
    location = DataLocation.create(**dataset_cfg)
    taxonomy = load_taxonomy(dataset_cfg.get("taxonomy", "cityscapes19"))
    lookup = np.array(taxonomy.lookup(dataset_cfg.get("label_map")), np.uint8)
    names = location.images()
    depth = any(s.get("type") == DEPTH_LOADER for s in dataset_cfg.get("pipeline") or ())
    check = partial(_check, location=location, taxonomy=taxonomy, lookup=lookup, depth=depth)
    title = f"Checking {location.title}"
    if nproc <= 1:
        yield from filter(None, map(check, track(names, title)))
        return
    with multiprocessing.Pool(nproc) as pool:
        yield from filter(None, track(pool.imap(check, names, chunksize=8), title, len(names)))


def _check(
    name: str, location: DataLocation, taxonomy: Taxonomy, lookup: np.ndarray, depth: bool
) -> UserError | None:
    try:
        image = read_image(str(location.image_folder / name))
        if location.label_folder is not None:
            label = str(Path(location.label_folder, location.label_name(name)))
            shape = image.shape[0], image.shape[1]
            read_train_ids(label, lookup, len(taxonomy), taxonomy.ignore_index, shape)
        if depth:
            read_depth(str(location.depth_folder / location.depth_name(name)))
    except UserError as error:
        return error
    return None
