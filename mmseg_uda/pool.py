"""Work on many files in several processes, which does not hang when one of them is killed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from typing import TypeVar

from mmseg_uda.errors import MachineError

T = TypeVar("T")
R = TypeVar("R")


def leave_to_parent() -> None:
    """Begins a worker: Ctrl-C, which reaches all processes of a terminal, is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def map_in_processes(
    function: Callable[[T], R],
    items: Sequence[T],
    workers: int,
    chunk: int = 8,
    begin: Callable[[], None] = leave_to_parent,
    context: BaseContext | None = None,
) -> Iterator[R]:
    """Yields ``function`` of every item, in order.

    ``multiprocessing.Pool`` would wait for ever for a process that was killed.

    Args:
        function: Importable, as are its results.
        items: What to work on.
        workers: Number of processes.
        chunk: Items that a process gets at a time.
        begin: Called in each process.
        context: How processes are started; None: as usual on this system.

    Raises:
        MachineError: A process was killed.
        Exception: Of ``function``.
    """
    pool = ProcessPoolExecutor(workers, context, begin)
    try:
        yield from pool.map(function, items, chunksize=chunk)
    except BrokenProcessPool:
        raise MachineError(
            f"One of {workers} worker processes was killed: most likely the memory of the machine "
            "or of the job was used up.",
            fix="Use fewer processes (--nproc, where a tool has it) or more memory, and run the "
            "same command again.",
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
