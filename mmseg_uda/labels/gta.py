"""GTA: palette PNGs whose index is a Cityscapes label id."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from mmseg_uda.errors import UserError

from .conversion import (
    LABEL_SUFFIX,
    PUBLISHED_FILE,
    Counts,
    count_classes,
    find_raw_labels,
    raw_table,
    run_parallel,
    taxonomy,
    write_label,
    write_statistics,
)
from .reading import read_label


def convert_gta(
    root: Path,
    gt_dir: str = "labels",
    out_dir: Path | None = None,
    nproc: int = 4,
    remap: str | None = None,
) -> None:
    """Writes ``X_labelTrainIds.png`` beside each ``X.png`` and the statistics to ``out_dir``.

    Args:
        root: Root folder of the data set.
        gt_dir: Label folder below it.
        out_dir: Folder for the statistics; None: the root.
        nproc: Number of processes.
        remap: Remap of the taxonomy to apply to the trainIds.

    Raises:
        UserError: No or damaged label files.
    """
    files = find_raw_labels(root / gt_dir)
    converted = run_parallel(partial(_convert, remap=remap), files, nproc, "Converting GTA labels")
    write_statistics(out_dir or root, converted)


def convert_gta16(
    root: Path, gt_dir: str = "labels", out_dir: Path | None = None, nproc: int = 4
) -> None:
    """Like ``convert_gta`` without terrain, truck and train: merged into others or ignored.

    The option ``label_map='gta16'`` of the data set does the same without a second copy of the
    labels.

    Raises:
        UserError: The folder holds 19-class labels, which would be overwritten.
    """
    statistics = root / PUBLISHED_FILE
    removed = {str(c) for c in taxonomy().remaps["gta16"]}
    if statistics.is_file() and any(
        removed & entry.keys() for entry in json.loads(statistics.read_text(encoding="utf-8"))
    ):
        raise UserError(
            f"{root} holds GTA labels with 19 classes, which this would overwrite.",
            fix="keep them and set label_map='gta16' on the data set (the gta16 configs do), or "
            "convert a copy, e.g. in data/gta16",
        )
    convert_gta(root, gt_dir, out_dir, nproc, remap="gta16")


def _convert(path: Path, remap: str | None) -> tuple[Path, Counts]:
    space = taxonomy()
    label = raw_table(space, "gta", 256, remap)[read_label(str(path))]
    target = path.with_name(path.stem + LABEL_SUFFIX)
    write_label(target, label)
    return target, count_classes(label, space.ignore_index)
