"""Progress of long steps: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
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


def track(
    items: Iterable[T],
    description: str,
    total: int | None = None,
    status: Callable[[], str] | None = None,
) -> Iterator[T]:
    """Yields the items and shows on stderr how many are done and how long the rest takes.

    Args:
        items: What to iterate over.
        description: What is being done.
        total: Number of items; None asks ``len(items)``.
        status: What else is shown, asked after every item.
    """
    if total is None:
        total = len(items) if isinstance(items, Sized) else 0
    if not sys.stderr.isatty():
        yield from _plain(items, description, total, status)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, status="")
        for item in items:
            yield item
            progress.update(task, advance=1, status=status() if status else "")


def _plain(
    items: Iterable[T], description: str, total: int, status: Callable[[], str] | None
) -> Iterator[T]:
    start = shown = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - shown >= PLAIN_SECONDS:
            shown = now
            left = (now - start) / done * max(total - done, 0)
            more = f", {status()}" if status else ""
            print(
                f"{description}: {done}/{total}, {left:.0f} s left{more}",
                file=sys.stderr,
                flush=True,
            )
