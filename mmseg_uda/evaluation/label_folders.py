"""Evaluation of predictions that are files: a folder of label maps beside a folder of labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_uda.errors import UserError
from mmseg_uda.evaluation.class_sets import ClassSets
from mmseg_uda.labels import read_label
from mmseg_uda.progress import track
from mmseg_uda.taxonomy.folders import scan

# What follows an image's name in a prediction file -> in its label file.
ENDINGS = (
    (".png", ".png"),
    ("_leftImg8bit.png", "_gtFine_labellevel3Ids.png"),
    ("_leftImg8bit.png", "_gtFine_labelTrainIds.png"),
    (".png", "_labelTrainIds.png"),
    (".png", "g.png"),
)
"""The last is for ``.jpeg`` files, from which the released code cuts four letters."""

STRIPE = 1 << 20  # pixels counted at once, so that the largest images need little memory


@dataclass(frozen=True)
class FolderScores:
    """What an evaluation of files has found.

    Attributes:
        scores: See :meth:`ClassSets.scores`.
        images: Number of predictions with a label.
        without_label: Names of predictions that have none, which were left out.
        confusion: int64 (K, K + 1), pixels by label and prediction.
    """

    scores: dict[str, float]
    images: int
    without_label: tuple[str, ...]
    confusion: np.ndarray

    def as_json(self) -> dict[str, Any]:
        """The entry of a file of evaluations: scores, IoU and accuracy by class."""
        entry: dict[str, Any] = {"IoU": {}, "Acc": {}}
        for name, value in self.scores.items():
            kind, _, label = name.partition(".")
            number = None if np.isnan(value) else value
            if label:
                entry[kind][label] = number
            else:
                entry[name] = number
        return {**entry, "images": self.images, "without_label": list(self.without_label)}


def evaluate_folder(
    predictions: str | Path,
    labels: str | Path,
    sets: ClassSets,
    ignore_index: int = 255,
    names: Sequence[str] | None = None,
    lookup: Sequence[int] | None = None,
    workers: int = 2,
    read: Callable[[Path], np.ndarray] | None = None,
    endings: Sequence[tuple[str, str]] = ENDINGS,
) -> FolderScores:
    """Compares PNG files of target ids with labels of the same images.

    Args:
        predictions: Folder of label maps, searched recursively.
        labels: Folder of labels, at the same relative paths, with one of the endings.
        sets: Classes and their sets.
        ignore_index: Label of pixels that do not count.
        names: Relative paths of the predictions to look at, without ``.png``; None takes all.
        lookup: What each value of a label file stands for; None takes it as it is.
        workers: Threads that read files.
        read: Reads a prediction; by default 8-bit files.
        endings: What follows an image's name in a prediction file, and in its label file.

    Raises:
        UserError: There are no predictions, none has a label, a file is damaged, or a label's size
            or ids do not fit; the message names the file.
    """
    predictions, labels = Path(predictions), Path(labels)
    if names is None:
        names = sorted(name.removesuffix(".png") for name in scan(predictions, ".png"))
    if not names:
        raise UserError(f"{predictions} holds no label maps.", fix="Check the folder.")
    found = {name: label_of(name, labels, endings) for name in names}
    pairs = [(predictions / f"{n}.png", path) for n, path in found.items() if path is not None]
    if not pairs:
        raise UserError(
            f"None of the {len(names)} predictions in {predictions} has a label in {labels}; the "
            f"first is {names[0]}.png.",
            fix="The label of an image lies at the same relative path, with one of these endings: "
            + ", ".join(dict.fromkeys(ending for _, ending in endings)),
        )
    classes = len(sets.classes)
    confusion = np.zeros((classes, classes + 1), np.int64)
    table = None if lookup is None else np.asarray(lookup)

    def count(pair: tuple[Path, Path]) -> np.ndarray:
        prediction = (read or _read)(pair[0])
        label = read_label(str(pair[1]))
        label = label if table is None else table[label]
        return _confusion(label, prediction, classes, ignore_index, pair)

    for counts in track(_in_order(pairs, count, workers), "Comparing with labels", len(pairs)):
        confusion += counts
    missing = tuple(name for name, path in found.items() if path is None)
    return FolderScores(sets.scores(confusion), len(pairs), missing, confusion)


def label_of(name: str, labels: Path, endings: Sequence[tuple[str, str]] = ENDINGS) -> Path | None:
    """The label file of a prediction ``name`` (relative, without ``.png``), None without one."""
    for ours, theirs in endings:
        if f"{name}.png".endswith(ours):
            path = labels / (f"{name}.png".removesuffix(ours) + theirs)
            if os.path.isfile(path):
                return path
    return None


def _read(path: Path) -> np.ndarray:
    return read_label(str(path))


def _confusion(
    label: np.ndarray,
    prediction: np.ndarray,
    classes: int,
    ignore_index: int,
    files: tuple[Path, Path],
) -> np.ndarray:
    """(K, K + 1) counts of one image."""
    if label.shape != prediction.shape:
        sizes = " and ".join(f"{h}x{w}" for h, w in (prediction.shape, label.shape))
        raise UserError(
            f"{files[0]} and its label {files[1]} differ in size: {sizes}.",
            fix="Predictions are compared at the label's size.",
        )
    wrong = label[(label >= classes) & (label != ignore_index)]
    if wrong.size:
        raise UserError(
            f"{files[1]} holds id {int(wrong[0])}, which is none of the {classes} classes.",
            fix="Check that labels and taxonomy map belong together.",
        )
    counts = np.zeros(classes * (classes + 1) + 1, np.int64)
    flat, against = label.ravel(), prediction.ravel()
    for start in range(0, flat.size, STRIPE):
        rows = flat[start : start + STRIPE].astype(np.int64)
        columns = np.minimum(against[start : start + STRIPE].astype(np.int64), classes)
        # One bin more takes ignored pixels.
        index = np.where(rows == ignore_index, counts.size - 1, rows * (classes + 1) + columns)
        counts += np.bincount(index, minlength=counts.size)
    return counts[:-1].reshape(classes, classes + 1)


def _in_order(
    pairs: Sequence[tuple[Path, Path]],
    count: Callable[[tuple[Path, Path]], np.ndarray],
    workers: int,
) -> Iterator[np.ndarray]:
    """Counts in the order of the pairs; a failure ends all of them."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            yield from pool.map(count, pairs)
        finally:
            pool.shutdown(cancel_futures=True)
