"""Locks by which processes that share a folder keep apart."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.regular_files import MISSING, why_no_file

TRAINING_LOCK = "train.lock"
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # a file system without locks


class Lock:
    """An exclusive lock that child processes inherit through ``fileno``.

    It is held until every process that has the descriptor has closed it or ended.

    Args:
        path: Lock file; it is made and stays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None

    def acquire(self) -> bool:
        """Takes the lock if no other process has it; returns whether it is ours now.

        Raises:
            UserError: The folder's file system has no locks.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _require_lock_file(self.path)
        file = self.path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        except OSError as error:
            file.close()
            if error.errno not in NO_LOCKS:
                raise
            raise UserError(
                f"The file system of {self.path.parent} does not lock files, so two runners could "
                "train the same job.",
                fix="Give a --work-dir on another file system (on Lustre: mounted with -o flock).",
            ) from error
        self._file = file
        return True

    def fileno(self) -> int:
        """Returns the descriptor that holds the lock."""
        return self._file.fileno()

    def release(self) -> None:
        """Gives the lock back, unless a child still holds it."""
        if self._file is not None:
            self._file.close()
            self._file = None


@contextmanager
def training_in(folder: Path) -> Iterator[None]:
    """Holds a folder's ``train.lock`` while the block trains in it.

    The lock belongs to this process alone: data-loading workers, which outlive a killed training
    for some seconds, do not keep it. Where the file system has no locks, nothing is held.

    Raises:
        UserError: Another process trains in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _require_lock_file(folder / TRAINING_LOCK)
    with (folder / TRAINING_LOCK).open("a+") as file:
        if not _take(file):
            file.seek(0)
            raise UserError(
                f"Another process trains in {folder} ({file.read().strip() or 'unknown'}).",
                fix="Wait for it, end it, or give another --work-dir.",
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def is_trained_in(folder: Path) -> bool:
    """Returns whether another process trains in the folder."""
    _require_lock_file(folder / TRAINING_LOCK)
    try:
        with (folder / TRAINING_LOCK).open("r+") as file:
            return not _take(file)
    except FileNotFoundError:
        return False


def _require_lock_file(path: Path) -> None:
    """Refuses what cannot be a lock; to open a pipe would wait for ever."""
    fault = why_no_file(path)
    if fault not in (None, MISSING):
        raise UserError(f"{path} {fault}.", fix="Move it away: it is the name of a lock.")


def _take(file: Any) -> bool:
    """Takes a lock of this process, gone when the file is closed or the process ends."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in NO_LOCKS
    return True
