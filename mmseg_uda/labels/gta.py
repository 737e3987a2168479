"""GTA: palette PNGs whose index is a Cityscapes label id."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mmseg_uda.errors import UserError
from mmseg_uda.files import read_json
from mmseg_uda.taxonomy import LAYOUTS, Taxonomy
from mmseg_uda.wording import listed

from .batches import Converted, check_size, run
from .conversion import (
    LABEL_SUFFIX,
    PUBLISHED_FILE,
    count_classes,
    doubtful_ids,
    find_raw_labels,
    raw_table,
    taxonomy,
    write_label,
    write_statistics,
)
from .reading import read_label

LOOKED_AT = 50  # labels, before all are converted


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
        UserError: No label files; or some that could not be converted: the others are.
    """
    folder, images = root / gt_dir, root / LAYOUTS["GTA"].splits["train"][0]
    files = find_raw_labels(folder)
    converted = remap is not None and _hold_train_ids(files)
    if converted:
        print(
            f"{folder}: its labels hold trainIds already; {remap} is applied to them.",
            file=sys.stderr,
        )
    convert = partial(_convert, remap=remap, labels=folder, images=images, raw=not converted)
    batch = run(convert, files, nproc, "Converting GTA labels")
    write_statistics(out_dir or root, batch.statistics)
    batch.report(folder, out_dir or root)


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
    if any(removed & set(entry) for entry in read_json(statistics) or ()):
        raise UserError(
            f"{root} holds GTA labels with 19 classes, which this would overwrite.",
            fix="Keep them and set label_map='gta16' on the data set (the gta16 configs do), or "
            "convert a copy, e.g. in data/gta16.",
        )
    convert_gta(root, gt_dir, out_dir, nproc, remap="gta16")


def _hold_train_ids(files: Sequence[Path]) -> bool:
    """Whether labels that are called like raw ones hold trainIds, as far as some of them show.

    Raw labels have ids above 18 and no 255; a single odd file does not make the others trainIds.
    """
    space = taxonomy()
    signs = []
    for path in files[:: max(1, len(files) // LOOKED_AT)]:
        try:
            present = set(np.unique(read_label(str(path))).tolist())
        except UserError:  # the conversion names it
            continue
        if max(present - {space.ignore_index}, default=0) >= len(space):
            return False
        signs.append(space.ignore_index in present)
    return any(signs)


def _convert(path: Path, remap: str | None, labels: Path, images: Path, raw: bool) -> Converted:
    space = taxonomy()
    ids = read_label(str(path))
    check_size(path, (ids.shape[0], ids.shape[1]), images / path.relative_to(labels))
    present = np.unique(ids).tolist()
    if raw:
        table, doubts = raw_table(space, "gta", 256, remap), doubtful_ids(space, "gta", present)
    else:
        table, doubts = np.array(space.lookup(remap), np.uint8), _no_train_ids(space, present)
        table[len(space) :] = space.ignore_index
    label = table[ids]
    target = path.with_name(path.stem + LABEL_SUFFIX)
    write_label(target, label)
    return Converted(target, count_classes(label, space.ignore_index), doubts)


def _no_train_ids(space: Taxonomy, present: Sequence[int]) -> dict[str, str]:
    """What is doubtful about the ids of a label that is taken for trainIds."""
    others = [i for i in present if i >= len(space) and i != space.ignore_index]
    if not others:
        return {}
    kind = "they hold ids that are no trainIds and become unlabelled, as if they were raw labels"
    return {kind: listed(others)}
