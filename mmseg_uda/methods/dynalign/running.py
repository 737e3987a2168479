"""Runs a stage over images: what is there is kept, one bad image does not stop the others."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from mmseg_uda.errors import DISK_FULL, UserError
from mmseg_uda.progress import track


class Item(Protocol):
    """An image file and the path of its results below each output folder, without suffix."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def name(self) -> str:
        """Place of its results."""


class Stage(ABC):
    """One step of the pipeline; its results are files."""

    name: str
    verb: str

    @abstractmethod
    def mark(self, item: Item) -> str:
        """Fingerprint of everything that the item's results depend on; may run in any thread."""

    @abstractmethod
    def stored(self, item: Item) -> str | None:
        """Fingerprint of the results that are there; None where they are missing or damaged."""

    def prepare(self) -> None:  # noqa: B027
        """Loads what every image needs; called once, and only if there is work."""

    @abstractmethod
    def load(self, item: Item) -> Any:
        """Reads what the item's work needs; may run in any thread."""

    @abstractmethod
    def work(self, item: Item, loaded: Any) -> None:
        """Computes the item's results and writes them."""

    def status(self) -> str:
        """A few words on the work so far, for the progress bar."""
        return ""


@dataclass(frozen=True)
class Failure:
    """An image that a stage could not work on."""

    path: Path
    name: str
    stage: str
    message: str

    def as_json(self) -> dict[str, str]:
        """The line of ``failures.jsonl``."""
        return {
            "image": str(self.path),
            "name": self.name,
            "stage": self.stage,
            "error": self.message,
        }


@dataclass
class StageReport:
    """How a stage went: numbers of images, and seconds of wall time."""

    stage: str
    total: int
    done: int = 0
    skipped: int = 0
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The entry of the summary."""
        rate = self.done / self.seconds if self.done and self.seconds else 0.0
        return {
            "total": self.total,
            "done": self.done,
            "skipped": self.skipped,
            "failed": len(self.failures),
            "seconds": round(self.seconds, 3),
            "images_per_second": round(rate, 3),
        }


@dataclass(frozen=True)
class _Opened:
    item: Item
    present: bool = False
    loaded: Any = None
    error: Exception | None = None


def run_stage(
    stage: Stage,
    items: Sequence[Item],
    workers: int = 2,
    overwrite: bool = False,
    strict: bool = False,
) -> StageReport:
    """Does what is missing of a stage, with a progress bar.

    Args:
        stage: What to do.
        items: Images.
        workers: Threads that read ahead.
        overwrite: Do everything anew.
        strict: Results that were made from something else are an error; else they are replaced.

    Returns:
        What was done; images that failed are listed, in order.

    Raises:
        NotReady: Something that all images need is missing.
        UserError: ``strict`` found other results.
        OSError: The disk is full.
    """
    report = StageReport(stage.name, len(items))
    start = time.monotonic()
    ready = False

    def status() -> str:
        parts = [f"{report.skipped} there already"] if report.skipped else []
        parts += [f"{len(report.failures)} failed"] if report.failures else []
        if report.done:
            parts.append(f"{report.done / (time.monotonic() - start):.2f} img/s")
        return ", ".join([*parts, *filter(None, [stage.status()])])

    with ThreadPoolExecutor(workers) as pool:
        opened = _read_ahead(stage, items, pool, workers + 1, overwrite, strict)
        try:
            for one in track(opened, stage.verb, len(items), status):
                if one.error is not None:
                    report.failures.append(_failure(stage, one.item, one.error))
                    continue
                if one.present:
                    report.skipped += 1
                    continue
                if not ready:
                    _prepare(stage)
                    ready = True
                try:
                    stage.work(one.item, one.loaded)
                    report.done += 1
                except Exception as error:
                    report.failures.append(_failure(stage, one.item, error))
        finally:
            pool.shutdown(cancel_futures=True)
            report.seconds = time.monotonic() - start
    return report


class NotReady(UserError):
    """What a stage needs for every image is missing."""


class OtherSettings(UserError):
    """Results of other settings were found and are not to be replaced."""


def _prepare(stage: Stage) -> None:
    try:
        stage.prepare()
    except UserError as error:
        raise NotReady(error.message, fix=error.fix) from error


def _read_ahead(
    stage: Stage,
    items: Sequence[Item],
    pool: ThreadPoolExecutor,
    ahead: int,
    overwrite: bool,
    strict: bool,
) -> Iterator[_Opened]:
    """Images in order, at most ``ahead`` of them in memory."""
    pending: deque[Future] = deque()
    waiting = iter(items)
    while True:
        for item in waiting:
            pending.append(pool.submit(_open, stage, item, overwrite, strict))
            if len(pending) >= ahead:
                break
        if not pending:
            return
        yield pending.popleft().result()


def _open(stage: Stage, item: Item, overwrite: bool, strict: bool) -> _Opened:
    try:
        if not overwrite:
            stored = stage.stored(item)
            if stored is not None and stored == stage.mark(item):
                return _Opened(item, present=True)
            if stored is not None and strict:
                raise OtherSettings(
                    f"The results of {stage.name} for {item.name} were made with other settings.",
                    fix="Leave --strict out to replace them, or give another --out.",
                )
        return _Opened(item, loaded=stage.load(item))
    except OtherSettings:
        raise
    except Exception as error:  # one bad file of thousands must not end the run
        return _Opened(item, error=error)


def _failure(stage: Stage, item: Item, error: Exception) -> Failure:
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        raise error
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        message = (
            "The memory does not suffice for this image.\n"
            "  Fix: a smaller --working-size, --scorer open_clip chunk=32, or --device cpu"
        )
    elif isinstance(error, UserError):
        message = str(error)
    else:
        lines = str(error).strip().splitlines()
        message = f"{type(error).__name__}: {lines[0] if lines else ''}"
    return Failure(item.path, item.name, stage.name, message)
