"""Conversion of data sets' labels to trainIds: a command each, all with the same options."""

from __future__ import annotations

from collections.abc import Callable

from mmseg_uda import labels
from mmseg_uda.labels.conversion import parse_options


def gta() -> None:
    """Converts GTA's."""
    _run(labels.convert_gta, "Converts GTA labels (palette PNGs) to trainIds.", "labels")


def gta16() -> None:
    """Converts GTA's for 16 classes."""
    what = "Converts GTA labels to trainIds without terrain, truck and train."
    _run(labels.convert_gta16, what, "labels")


def synthia() -> None:
    """Converts SYNTHIA's."""
    what = "Converts SYNTHIA-RAND-CITYSCAPES labels (16-bit PNGs) to trainIds."
    _run(labels.convert_synthia, what, "GT/LABELS")


def cityscapes() -> None:
    """Converts Cityscapes'."""
    what = "Converts Cityscapes annotations (polygons or label ids) to trainIds."
    _run(labels.convert_cityscapes, what, "gtFine", nproc=1)


def camvid() -> None:
    """Converts CamVid's."""
    what = "Converts CamVid labels (colour-coded PNGs of 32 classes) to trainIds of 11 classes."
    _run(labels.convert_camvid, what, "LabeledApproved_full")


def _run(convert: Callable[..., None], what: str, gt_dir: str, nproc: int = 4) -> None:
    args = parse_options(what, gt_dir=gt_dir, nproc=nproc)
    convert(args.root, args.gt_dir, args.out_dir, args.nproc)
