"""Everything that the miniworld profile needs, made once: data sets, labels, weights."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmseg_uda.miniworld.world import WorldOptions, available_cores, render_domain

SEGMENTATION_DOMAINS = ("gta", "synthia", "cityscapes", "acdc")


@dataclass(frozen=True)
class MiniworldPaths:
    """Where things are, and how long each part took.

    Attributes:
        data: domain -> root folder of the data set.
        seconds: part -> seconds; parts that were there already are missing.
    """

    data: dict[str, Path]
    seconds: dict[str, float]


def convert_labels(folder: Path) -> None:
    """Runs the project's converter of the data set in ``folder``, as for the real one."""
    from mmseg_uda.labels import convert_cityscapes, convert_gta, convert_synthia

    converter = {
        "gta": convert_gta,
        "synthia": convert_synthia,
        "cityscapes": convert_cityscapes,
    }.get(folder.name)
    if converter is not None:
        # One process: these labels are small, and starting processes takes longer.
        converter(folder, nproc=1)


def ensure_miniworld(
    root: str | Path = "data/miniworld",
    options: WorldOptions | None = None,
    domains: Sequence[str] = SEGMENTATION_DOMAINS,
    workers: int | None = None,
) -> MiniworldPaths:
    """Makes what is missing and leaves the rest alone.

    Every part carries a stamp with the parameters and the code that made it, so that a second
    call does nothing, an interrupted one goes on where it stopped, and changed parameters redo
    exactly the parts that depend on them.

    Args:
        root: Folder of the data sets.
        options: The world; default: the development world.
        domains: Data sets to make.
        workers: Number of processes; default all cores.

    Raises:
        UserError: A folder exists that the miniature world did not make.
    """
    options = options or WorldOptions()
    root = Path(root)
    seconds: dict[str, float] = {}
    for domain in domains:
        start = time.monotonic()
        if render_domain(root, domain, options, workers or available_cores(), convert_labels):
            seconds[domain] = time.monotonic() - start
    return MiniworldPaths({d: root / d for d in domains}, seconds)
