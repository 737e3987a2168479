"""Renders the domains of the miniature world to disk, in parallel and resumably."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import cv2

from mmseg_uda.miniworld import formats, unseen_formats
from mmseg_uda.miniworld.catalogue import get_domain
from mmseg_uda.miniworld.domains import Domain, render
from mmseg_uda.miniworld.gap import REPORTED_SEED, STRENGTH
from mmseg_uda.miniworld.stamps import close_folder, fingerprint, is_complete, open_folder
from mmseg_uda.miniworld.unseen import UNSEEN
from mmseg_uda.pool import leave_to_parent, map_in_processes
from mmseg_uda.progress import track

RENDER_MODULES = (
    "canvas.py",
    "domains.py",
    "effects.py",
    "formats.py",
    "layout.py",
    "shapes.py",
    "street.py",
    "style.py",
    "vehicles.py",
)
DEFAULT_COUNTS: dict[str, dict[str, int]] = {
    "gta": {"train": 300},
    "synthia": {"train": 300},
    "cityscapes": {"train": 300, "val": 100},
    "acdc": {"train": 200, "val": 80},
    "bdd": {"train": 10, "val": 80},
    "mapillary": {"training": 120, "validation": 80},
    "idd": {"train": 120, "val": 80},
}

Job = TypeVar("Job")


@dataclass(frozen=True)
class WorldOptions:
    """What a world is made of; equal options give equal files.

    Attributes:
        seed: World seed; every frame is a function of (seed, domain, split, index).
        strength: How far the targets' look is from the sources', 0 to 1.
        width, height: Image size in pixels.
        counts: domain -> split -> number of frames.
    """

    seed: int = REPORTED_SEED
    strength: float = STRENGTH
    width: int = 256
    height: int = 128
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=lambda: DEFAULT_COUNTS)

    def parameters(self, domain: str) -> dict[str, Any]:
        """The parameters that the files of one domain depend on."""
        return {
            "domain": domain,
            "seed": self.seed,
            "strength": self.strength,
            "size": [self.width, self.height],
            "counts": dict(self.counts.get(domain, {})),
        }


@dataclass(frozen=True)
class _FrameJob:
    root: Path
    domain: str
    split: str
    index: int
    options: WorldOptions


def _render_and_write(job: _FrameJob) -> None:
    options = job.options
    frame = render(
        get_domain(job.domain),
        job.split,
        job.index,
        options.seed,
        options.strength,
        options.width,
        options.height,
    )
    _formats(job.domain).write_frame(job.root, job.domain, job.split, job.index, frame)


def _start_worker() -> None:
    leave_to_parent()
    cv2.setNumThreads(0)
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A killed parent leaves its workers waiting for ever, or writing into a stale world.
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(process: BaseProcess) -> None:
    process.join()
    os._exit(1)


def available_cores() -> int:
    """Number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel(work: Callable[[Job], Any], jobs: list[Job], workers: int | None) -> Iterator[Any]:
    """Results of ``work`` in the order of ``jobs``, from several processes."""
    workers = min(workers or available_cores(), max(len(jobs) // 4, 1))

    if workers <= 1:
        yield from map(work, jobs)
        return
    # Not fork: the caller may have started torch's threads.
    context = multiprocessing.get_context("spawn")
    yield from map_in_processes(work, jobs, workers, 4, _start_worker, context)


def _formats(domain: str) -> ModuleType:
    return unseen_formats if domain in UNSEEN else formats


def modules_of(domain: Domain) -> tuple[str, ...]:
    """The modules of this package that the files of a domain depend on."""
    extra = () if domain.details is None else domain.details.modules
    return (*RENDER_MODULES, *extra)


def render_domain(
    root: Path,
    domain: str,
    options: WorldOptions,
    workers: int | None = None,
    finish: Callable[[Path], None] | None = None,
) -> bool:
    """Writes one domain below ``root/<domain>`` unless it is there already.

    Args:
        root: Folder of the world.
        domain: Name of the domain.
        options: The world.
        workers: Number of processes; default all cores.
        finish: Called with the domain's folder after the last frame (label conversion).

    Returns:
        Whether anything was written.

    Raises:
        UserError: The folder holds something else.
    """
    folder = root / domain
    parameters = options.parameters(domain)
    print_ = fingerprint(parameters, modules_of(get_domain(domain)))
    if is_complete(folder, print_):
        return False
    open_folder(folder, print_, parameters)
    jobs = [
        _FrameJob(folder, domain, split, index, options)
        for split, count in options.counts.get(domain, {}).items()
        for index in range(count)
        if not _formats(domain).image_path(folder, domain, split, index).exists()
    ]
    for _ in track(parallel(_render_and_write, jobs, workers), f"Rendering {domain}", len(jobs)):
        pass
    if finish is not None:
        finish(folder)
    close_folder(folder, print_, parameters)
    return True
