"""Class-uniform sampling: half of an epoch shows every class equally often (SRHA).

The list of an epoch is a function of seed and epoch number alone: no state is kept, every rank has
the same list, and a resumed training reads on where it stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.logging import print_log

from mmseg_uda.errors import UserError
from mmseg_uda.inspection import IdSpace
from mmseg_uda.labels import LabelIds, read_train_ids
from mmseg_uda.labels.statistics_files import MOST_PIXELS

from .label_cache import cached_per_label
from .transforms import RandomScaleCrop

if TYPE_CHECKING:
    from .taxonomy_dataset import TaxonomyDataset

ANY = -1
"""Class of an image that was drawn at random."""


def tile_origins(height: int, width: int, tile: int) -> list[tuple[int, int]]:
    """Returns (x, y) of the whole, non-overlapping tiles of an image, from its top left corner.

    What is left over at the right and at the bottom is in no tile, as published.

    >>> tile_origins(1024, 2048, 1024)
    [(0, 0), (1024, 0)]
    """
    return [(x * tile, y * tile) for y in range(height // tile) for x in range(width // tile)]


def class_centroids(label: np.ndarray, num_classes: int, tile: int) -> list[tuple[int, int, int]]:
    """Finds where each class is, per tile.

    Args:
        label: trainIds of any integer type, (h, w); what is no class is left out.
        num_classes: Number of classes.
        tile: Side of the tiles in pixels.

    Returns:
        (class, x, y) for every class with a pixel in a tile: the truncated centre of mass of these
        pixels, in pixels of the image.
    """
    columns = np.tile(np.arange(tile, dtype=np.float64), tile)
    rows = np.repeat(np.arange(tile, dtype=np.float64), tile)
    found = []
    height, width = label.shape
    if label.dtype.kind != "u":
        label = np.where(label < 0, num_classes, label)
    for x, y in tile_origins(height, width, tile):
        ids = label[y : y + tile, x : x + tile].ravel()
        pixels = np.bincount(ids, minlength=num_classes)[:num_classes]
        right = np.bincount(ids, columns, minlength=num_classes)
        down = np.bincount(ids, rows, minlength=num_classes)
        for c in np.flatnonzero(pixels):
            # Sums of whole numbers below 2**53 are exact, and so is their integer quotient.
            found.append(
                (int(c), x + int(right[c]) // int(pixels[c]), y + int(down[c]) // int(pixels[c]))
            )
    return found


def repeated_choice(size: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draws ``count`` of ``size`` things: a random permutation, repeated if there are too few.

    Returns:
        int64, (count,), indices.
    """
    return rng.permutation(size)[np.arange(count) % size]


def class_uniform_list(
    num_images: int, num_centroids: Sequence[int], share: float, seed: int, epoch: int
) -> np.ndarray:
    """Makes the list of an epoch.

    Of N images and K classes, m = int(share · N / K) centroids of every class and N - K · m random
    images; a class without a centroid is skipped, so that the list gets shorter. Then everything is
    shuffled.

    Args:
        num_images: N.
        num_centroids: Number of centroids per class, (K,).
        share: Share of the classes in the list.
        seed: Seed of the training.
        epoch: Number of the epoch.

    Returns:
        int64, (length, 2): class and index of a centroid among those of its class, or ``ANY`` and
        index of an image.
    """
    rng = np.random.default_rng([seed, epoch])
    classes = len(num_centroids)
    each = int(share * num_images / classes)
    parts = [(ANY, repeated_choice(num_images, num_images - classes * each, rng))]
    for class_id, count in enumerate(num_centroids):
        if count:
            parts.append((class_id, repeated_choice(count, each, rng)))
    drawn = [np.stack([np.full_like(index, c), index], axis=1) for c, index in parts]
    return rng.permutation(np.concatenate(drawn))


class ClassUniformSampling:
    """Which image, and which point of it, stands at a position of the endless sample stream.

    Centroids are computed from the labels on first use and kept in a file beside the data, which
    all trainings share.

    Args:
        dataset: Labelled data set with a ``RandomScaleCrop`` in its pipeline, which shows the
            point.
        share: Share of an epoch that is drawn by class.
        tile: Side of the tiles that have centroids of their own, in native pixels.

    Raises:
        UserError: No tile fits into any image, no crop follows the point, or an option is out of
            range.
    """

    def __init__(self, dataset: TaxonomyDataset, share: float = 0.5, tile: int = 1024) -> None:
        if not 0 <= share <= 1 or tile < 1:
            raise UserError(
                f"class_uniform_sampling: share={share}, tile={tile} are out of range.",
                fix="Published: share=0.5, tile=1024.",
            )
        if not any(isinstance(t, RandomScaleCrop) for t in dataset.pipeline.transforms):
            raise UserError(
                "class_uniform_sampling needs a RandomScaleCrop transform in the source pipeline.",
                fix="Add dict(type='RandomScaleCrop', crop_size=...) after the loading.",
            )
        self.dataset = dataset
        self.share = share
        self.tile = tile
        self.centroids = self._centroids()
        if not any(map(len, self.centroids)):
            raise UserError(
                f"class_uniform_sampling finds no class in {dataset.location.title}: no tile of "
                f"{tile}x{tile} pixels fits into an image, or no pixel has a label.",
                fix="Use a tile that is not larger than the images, for SYNTHIA at most 760.",
            )
        self._tell_absent()
        self.length = len(self.epoch_list(0, 0))

    def _tell_absent(self) -> None:
        dataset = self.dataset
        kind = type(dataset).__name__
        space = IdSpace(dataset.location.title, dataset.taxonomy, dataset.label_ids.label_map, kind)
        absent = [c for c in space.expected if not len(self.centroids[c])]
        if absent:
            names = ", ".join(dataset.taxonomy.classes[c] for c in absent)
            print_log(
                f"class_uniform_sampling: no tile of {dataset.location.title} shows {names}; these "
                "classes are seen by chance only",
                logger="current",
                level=logging.WARNING,
            )

    def _centroids(self) -> list[np.ndarray]:
        """Per class, (number of centroids, 3): image, x, y."""
        dataset = self.dataset
        classes = len(dataset.taxonomy)
        ids = dataset.label_ids
        compute = partial(file_centroids, ids=ids, tile=self.tile)
        options = f"tile {self.tile} classes {classes} {ids.lookup.tobytes().hex()}"
        description = "Finding classes in {} label files"
        per_file = cached_per_label(
            dataset, "centroids", "centroids", compute, description, _checked, options
        )
        rows = [(c, i, x, y) for i, entries in enumerate(per_file) for c, x, y in entries]
        table = np.array(rows, np.int64).reshape(-1, 4)
        return [table[table[:, 0] == c, 1:] for c in range(classes)]

    def epoch_list(self, seed: int, epoch: int) -> np.ndarray:
        """Returns the list of an epoch; see :func:`class_uniform_list`."""
        counts = tuple(map(len, self.centroids))
        return _kept_list(len(self.dataset), counts, self.share, seed, epoch)

    def draw(self, seed: int, position: int) -> tuple[int, tuple[int, int] | None]:
        """Returns the sample index at a position, and the point (x, y) that its crop shows."""
        epoch, index = divmod(position, self.length)
        class_id, entry = self.epoch_list(seed, epoch)[index]
        if class_id == ANY:
            return int(entry), None
        image, x, y = self.centroids[class_id][entry]
        return int(image), (int(x), int(y))

    def sample(self, index: int, centroid: tuple[int, int] | None) -> dict:
        """Returns the packed sample, cropped so that it shows the point."""
        results = self.dataset.get_data_info(index)
        if centroid is not None:
            results["centroid"] = centroid
        with self.dataset.needing_labels():
            return self.dataset.pipeline(results)


def file_centroids(path: str, ids: LabelIds, tile: int) -> list[tuple[int, int, int]]:
    """Centroids of one label file; see :func:`class_centroids`."""
    return class_centroids(read_train_ids(path, ids, None), ids.classes, tile)


# An epoch is read position by position; at its end, workers may be in two of them.
@lru_cache(maxsize=4)
def _kept_list(
    num_images: int, num_centroids: tuple[int, ...], share: float, seed: int, epoch: int
) -> np.ndarray:
    return class_uniform_list(num_images, num_centroids, share, seed, epoch)


def _checked(entries: Any, path: Path, name: str) -> list[list[int]]:
    """What a file holds about one label: class, x, y of each centroid."""
    right = isinstance(entries, list) and all(
        isinstance(entry, list)
        and len(entry) == 3
        and all(isinstance(n, int) and 0 <= n < MOST_PIXELS for n in entry)
        for entry in entries
    )
    if not right:
        raise UserError(
            f"{path} is damaged: {name} has no list of class, x and y.",
            fix="Delete the file to have the classes looked for anew.",
        )
    return entries
