"""SYNTHIA: 16-bit PNGs with three channels, of which the red one is the class."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np

from mmseg_uda.errors import UserError
from mmseg_uda.taxonomy import LAYOUTS

from .batches import Converted, check_size, run
from .conversion import (
    LABEL_SUFFIX,
    count_classes,
    doubtful_ids,
    find_raw_labels,
    raw_table,
    taxonomy,
    write_label,
    write_statistics,
)
from .reading import decode, read_whole


def convert_synthia(
    root: Path, gt_dir: str = "GT/LABELS", out_dir: Path | None = None, nproc: int = 4
) -> None:
    """Writes ``X_labelTrainIds.png`` beside each ``X.png`` and the statistics to ``out_dir``.

    Raises:
        UserError: No label files; or some that could not be converted: the others are.
    """
    folder, images = root / gt_dir, root / LAYOUTS["SYNTHIA"].splits["train"][0]
    convert = partial(_convert, labels=folder, images=images)
    batch = run(convert, find_raw_labels(folder), nproc, "Converting SYNTHIA labels")
    write_statistics(out_dir or root, batch.statistics)
    batch.report(folder, out_dir or root)


def read_classes(path: Path) -> np.ndarray:
    """Returns the raw class ids of a label file; uint16, (h, w).

    Raises:
        UserError: The file is damaged or has not three channels of 16 bits.
    """
    # PIL cannot decode colour PNGs with 16 bits per channel; OpenCV gives B, G, R.
    image = decode(read_whole(path), path, cv2.IMREAD_UNCHANGED)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint16:
        raise UserError(
            f"{path} is not a 16-bit PNG with three channels but has shape {image.shape}, "
            f"{image.dtype}.",
            fix="Use the folder GT/LABELS, not the coloured labels.",
        )
    return image[..., 2]


def _convert(path: Path, labels: Path, images: Path) -> Converted:
    space = taxonomy()
    raw = read_classes(path)
    check_size(path, (raw.shape[0], raw.shape[1]), images / path.relative_to(labels))
    label = raw_table(space, "synthia", 1 << 16)[raw]
    target = path.with_name(path.stem + LABEL_SUFFIX)
    write_label(target, label)
    doubts = doubtful_ids(space, "synthia", np.unique(raw).tolist())
    return Converted(target, count_classes(label, space.ignore_index), doubts)
