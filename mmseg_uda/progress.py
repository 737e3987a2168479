"""Progress of long steps: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")
PLAIN_SECONDS = 10  # between two lines


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yields the items and shows on stderr how many are done and how long the rest takes.

    Args:
        items: What to iterate over.
        description: What is being done.
        total: Number of items; None asks ``len(items)``.
    """
    if total is None:
        total = len(items) if isinstance(items, Sized) else 0
    if not sys.stderr.isatty():
        yield from _plain(items, description, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield from progress.track(items, total=total, description=description)


def _plain(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    start = shown = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - shown >= PLAIN_SECONDS:
            shown = now
            left = (now - start) / done * max(total - done, 0)
            print(f"{description}: {done}/{total}, {left:.0f} s left", file=sys.stderr, flush=True)
