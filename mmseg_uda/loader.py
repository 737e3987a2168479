"""A data loader that tells when its workers hang or are killed, and lets a stop request through.

torch's own waits for ever for a worker that hangs: its ``timeout`` does not count while a batch is
handed over. A worker that is killed it tells by raising wherever the main process happens to be, in
the middle of a step or of writing a checkpoint. Here both end the wait for a batch and nothing
else, so that the state is the one after the last step.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from multiprocessing.queues import Queue
from pathlib import Path
from types import FrameType
from typing import Any

from mmengine.logging import print_log
from torch.utils.data import DataLoader

from mmseg_uda.errors import MachineError, UserError
from mmseg_uda.system_errors import NO_SHARED_MEMORY, explain

PATIENCE_SECONDS = 600.0
"""How long a batch may take, if the config does not say."""

# How a worker ends that cannot hand over a batch.
SHORT_OF_MEMORY, SHORT_OF_FILES = 101, 102
# What signal a worker dies of that the machine or somebody has killed; others are crashes.
KILLED = (signal.SIGKILL, signal.SIGBUS, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
STATES = {
    "R": "computing",
    "S": "sleeping",
    "T": "stopped",
    "D": "waiting for a disk or the network",
}


class StopWaiting(BaseException):
    """Whoever waits for a batch is asked to end."""


class WatchedLoader(DataLoader):
    """torch's loader; one message names workers that are killed or hang.

    Without workers it is torch's own: nothing can watch a process that reads by itself.

    Attributes:
        patience: Seconds that a batch may take; 0 waits for ever.
        asked: Tells, once a second, whether to give up waiting because the program is to end.
    """

    patience: float = PATIENCE_SECONDS
    asked: Callable[[], bool] = staticmethod(lambda: False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        watch(self, PATIENCE_SECONDS)

    def __iter__(self) -> Any:
        try:
            batches = super().__iter__()
        except OSError as error:
            if error.errno != errno.ENOSPC or not self.num_workers:
                raise
            raise _no_shared_memory("The data-loading workers could not start") from None
        main = threading.current_thread() is threading.main_thread()
        return _Batches(self, batches) if self.num_workers and main else batches


def read_patience(options: Mapping[str, Any]) -> float:
    """Seconds that a batch may take: the option ``timeout`` of a loader's config.

    Raises:
        UserError: It is no number of seconds.
    """
    value = options.get("timeout", PATIENCE_SECONDS)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise UserError(
            f"A data loader's timeout={value!r} is no number of seconds.",
            fix="Give how long a batch may take, such as 600; 0 waits for ever.",
        )
    if "timeout" in options and value and not options.get("num_workers"):
        print_log(
            f"A data loader's timeout={value} has no effect with num_workers=0: the process that "
            "would have to watch is the one that reads.",
            logger="current",
            level=logging.WARNING,
        )
    return float(value)


def watch(loader: DataLoader, patience: float) -> DataLoader:
    """Makes a watched loader of one of torch's own class; other classes stay as they are."""
    if type(loader) is DataLoader:
        loader.__class__ = WatchedLoader
    if isinstance(loader, WatchedLoader):
        loader.patience = patience
        loader.worker_init_fn = partial(_begin_worker, loader.worker_init_fn)
    return loader


def _begin_worker(init: Callable[[int], None] | None, worker: int) -> None:
    """Starts a worker that ends if it cannot hand over a batch.

    multiprocessing would print a traceback and drop the batch, for which the program would wait.
    A batch that the program leaves half fetched, as it ends, is nobody's trouble: the thread
    that hands over open files would print a traceback of it beside the program's one message.
    """
    Queue._on_queue_feeder_error = staticmethod(_cannot_hand_over)  # type: ignore[attr-defined]
    sys.excepthook = partial(_unless_left, sys.excepthook)
    if init is not None:
        init(worker)


def _unless_left(report: Callable[..., Any], kind: type, error: Exception, where: Any) -> None:
    if not isinstance(error, (EOFError, ConnectionError)):
        report(kind, error, where)


def _cannot_hand_over(error: Exception, batch: Any) -> None:
    if _short_of(str(error)) is None:
        traceback.print_exception(error)
        os._exit(1)
    os._exit(SHORT_OF_FILES if "open files" in str(error) else SHORT_OF_MEMORY)


def kill_workers() -> None:
    """Ends all workers of watched loaders, before the program ends out of turn.

    One that is stopped, or hangs, obeys no other signal, and Python would wait for it.
    """
    workers = [w for batches in list(_watchman.all) for w in getattr(batches, "_workers", ())]
    with _watchman.deaf():
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join(1.0)


class _Batches:
    """Hands over the batches of torch's iterator."""

    def __init__(self, loader: WatchedLoader, batches: Any) -> None:
        self._loader = loader
        self._batches = batches
        _watchman.take_over(batches)

    def __iter__(self) -> _Batches:
        return self

    def __next__(self) -> Any:
        told: MachineError | None
        try:
            with _watchman.watching(self._loader):
                return next(self._batches)
        except StopIteration:
            raise
        except _TooLong:
            told = _hanging(self._loader.patience, self._workers)
        except Exception as error:
            # A batch was being handed over: the connection ends a moment before the process.
            cut = isinstance(error, (EOFError, OSError))
            told = _lost(self._workers, seconds=2.0 if cut else 0.0) or _short_of(str(error))
            if told is None:
                raise
        except BaseException:
            kill_workers()
            raise
        kill_workers()
        raise told

    @property
    def _workers(self) -> Sequence[Any]:
        return getattr(self._batches, "_workers", ())


class _TooLong(BaseException):
    pass


class _Watchman:
    """Wakes the main thread while it waits for a batch: every second, and when a worker has died.

    Attributes:
        all: torch's iterators that are watched.
    """

    def __init__(self) -> None:
        self.all: weakref.WeakSet[Any] = weakref.WeakSet()
        self._loader: WatchedLoader | None = None
        self._seconds = 0
        self._missed = False
        self._check_workers: Callable[[int, FrameType | None], Any] | None = None
        self._thread: threading.Thread | None = None

    def forget(self) -> None:
        """Lets go of workers that a process has from its parent, whose they stay."""
        self.all.clear()

    def take_over(self, batches: Any) -> None:
        """Stands between SIGCHLD and torch, whose handler raises wherever the program is."""
        self.all.add(batches)
        handler = signal.getsignal(signal.SIGCHLD)
        if callable(handler) and handler != self._on_signal:
            self._check_workers = handler
            signal.signal(signal.SIGCHLD, self._on_signal)
        if self._thread is None or not self._thread.is_alive():  # of a forked process, no more
            self._thread = threading.Thread(target=self._tick, daemon=True)
            self._thread.start()

    @contextlib.contextmanager
    def watching(self, loader: WatchedLoader) -> Iterator[None]:
        """Regions in which the main thread waits for a batch."""
        self._seconds = 0
        try:
            self._loader = loader
            if self._missed:
                self._on_signal(signal.SIGCHLD, None)
            yield
        finally:
            self._loader = None

    @contextlib.contextmanager
    def deaf(self) -> Iterator[None]:
        """Regions in which workers may die."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            yield
        finally:
            signal.signal(signal.SIGCHLD, handler or signal.SIG_DFL)

    def _tick(self) -> None:
        # Seconds are counted one by one: a job that was suspended has not waited meanwhile.
        while True:
            time.sleep(1)
            if self._loader is not None:
                self._seconds += 1
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGCHLD)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        loader = self._loader
        if loader is None:
            self._missed = True
            return
        self._missed = False
        if self._check_workers is not None:
            self._check_workers(number, frame)
        if loader.asked():
            raise StopWaiting
        if 0 < loader.patience <= self._seconds:
            raise _TooLong


_watchman = _Watchman()
os.register_at_fork(after_in_child=_watchman.forget)


def _hanging(patience: float, workers: Sequence[Any]) -> MachineError:
    told = [f"{worker.pid} ({_state(worker.pid)})" for worker in workers]
    return MachineError(
        f"The data-loading workers have brought no batch for {patience:g} seconds. "
        f"Their processes: {', '.join(told)}.",
        fix="Look whether the disk or network drive with the data answers. If batches take that "
        "long, set timeout beside num_workers, in seconds (0 waits for ever).",
    )


def _state(pid: int) -> str:
    try:
        letter = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "ended"
    return STATES.get(letter, letter)


def _lost(workers: Sequence[Any], seconds: float) -> MachineError | None:
    """The message about workers that have ended before their time, if any have in ``seconds``."""
    until = time.monotonic() + seconds
    while not (ended := [(w.pid, w.exitcode) for w in workers if w.exitcode]):
        if time.monotonic() >= until:
            return None
        time.sleep(0.05)
    pid, code = ended[0]
    what = f"A data-loading worker (process {pid}) "
    if code == SHORT_OF_MEMORY:
        return _no_shared_memory(f"{what}could not hand over a batch")
    if code == SHORT_OF_FILES:
        return _short_of("Too many open files")
    if code > 0:
        error = MachineError(f"{what}ended with exit status {code}.", fix="Its message is above.")
        error.status = 1
        return error
    name = signal.Signals(-code).name
    if -code not in KILLED:
        error = MachineError(
            f"{what}crashed ({name}): a library that it calls is faulty, or the memory.",
            fix="With train_dataloader.num_workers=0 the crash happens in this process; "
            "python -X faulthandler tells where.",
        )
        error.status = 1
        return error
    if -code == signal.SIGBUS:
        return _no_shared_memory(f"{what}was killed by {name}")
    return MachineError(
        f"{what}was killed by {name}"
        + (": most likely the memory of the machine or of the job was used up." * (code == -9)),
        fix="Ask for more memory, or use fewer workers (num_workers of train_dataloader and "
        "val_dataloader). dmesg, or the cluster's accounting, tells whether memory was the cause.",
    )


def _short_of(text: str) -> MachineError | None:
    """The message about what handing over a batch has used up, if that is what ``text`` says."""
    if "Too many open files" in text or "received 0 items of ancdata" in text:
        return _machine(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
    return _machine(RuntimeError(text)) if NO_SHARED_MEMORY.search(text) else None


def _no_shared_memory(what: str) -> MachineError:
    told = _machine(RuntimeError(f"{what}: most likely out of shared memory."))
    assert told is not None
    return told


def _machine(error: Exception) -> MachineError | None:
    known = explain(error)
    return None if known is None else MachineError(known.message, fix=known.fix)
