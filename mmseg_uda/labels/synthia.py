"""SYNTHIA: 16-bit PNGs with three channels, of which the red one is the class."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mmseg_uda.errors import UserError

from .conversion import (
    LABEL_SUFFIX,
    Counts,
    count_classes,
    find_raw_labels,
    raw_table,
    run_parallel,
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
        UserError: No or damaged label files, or files in another format.
    """
    files = find_raw_labels(root / gt_dir)
    write_statistics(
        out_dir or root, run_parallel(_convert, files, nproc, "Converting SYNTHIA labels")
    )


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
            fix="use the folder GT/LABELS, not the coloured labels",
        )
    return image[..., 2]


def _convert(path: Path) -> tuple[Path, Counts]:
    space = taxonomy()
    label = raw_table(space, "synthia", 1 << 16)[read_classes(path)]
    target = path.with_name(path.stem + LABEL_SUFFIX)
    write_label(target, label)
    return target, count_classes(label, space.ignore_index)
