"""Exceptions that end a program without a traceback."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmseg_uda.calling import as_called

REQUEUE_STATUS = 75
"""Exit status of a training that a signal ended after it had saved its state: run it again.

It is EX_TEMPFAIL of sysexits.h.
"""
SHOWN = 10
"""Files that one message names."""
MACHINE_STATUS = 71
"""Exit status when the machine failed a program, such as by killing a data-loading worker.

It is EX_OSERR of sysexits.h; the run goes on from its last checkpoint when it is started again.
"""
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class UserError(Exception):
    """A wrong path, option, label or checkpoint, told in one readable message.

    Command-line tools print it without a traceback and exit with its ``status``, 2.

    Args:
        message: What is wrong, in sentences with full stops; names the file or the config key. Only
            the text of another program and a list may end without one.
        fix: What to do about it, likewise; a command to copy stands at the end without a full stop.
    """

    status = 2

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        if message.startswith("Caught UserError in DataLoader worker"):
            # torch raises a worker's error anew, with the worker's traceback as its message.
            message = message.rpartition("mmseg_uda.errors.UserError: ")[2].strip()
        message = as_called(message)
        super().__init__(message)
        self.message = message
        self.fix = None if fix is None else as_called(fix).strip()

    def __str__(self) -> str:
        return self.message if self.fix is None else f"{self.message}\n  Fix: {self.fix}"


class MachineError(UserError):
    """A process of the program was killed, or does not answer.

    The same command may well go on later, so ``run_experiments.py`` counts it as interrupted.
    """

    status = MACHINE_STATUS


class NotSavedError(UserError):
    """A signal asked the program to end, and it could not save; the status is the shell's.

    Args:
        number: The signal.
        message: Why nothing was saved.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.status = 128 + number


class Interrupted(SystemExit):
    """A signal asked the training to end; the step is finished and its state is saved.

    As a ``SystemExit`` it ends a program that does not catch it with ``REQUEUE_STATUS``.
    """

    def __init__(self) -> None:
        super().__init__(REQUEUE_STATUS)


def require_choice(where: str, value: object, choices: Iterable[object]) -> None:
    """Raises unless an option has one of the values that it may have.

    Args:
        where: The option, such as ``uda.masking.strategy``.
        value: What it has.
        choices: What it may have.

    Raises:
        UserError: Names the option, its value and the choices.
    """
    choices = tuple(choices)
    if value not in choices:
        known = ", ".join(map(str, choices))
        raise UserError(f"{where}={value!r} is unknown.", fix=f"Use one of {known}.")


def no_space(path: str | Path, needed: int | None = None, fix: str | None = None) -> UserError:
    """Returns the error that tells about a full disk.

    Args:
        path: The file that could not be written.
        needed: Its size in bytes, if known.
        fix: What to do, in place of the general advice.
    """
    folder = next(p for p in Path(path).absolute().parents if p.exists())
    free = size_text(shutil.disk_usage(folder).free)
    size = "" if needed is None else f" It needs {size_text(needed)};"
    return UserError(
        f"No space left to write {path}.{size} {free} are free there (or a quota is used up).",
        fix=fix or "Free some space, or give a folder on another disk.",
    )


def of_many(failures: Sequence[UserError], total: int, what: str, rest: str = "") -> UserError:
    """Returns one error for a job over many files that went on past those that failed.

    Args:
        failures: What is wrong with each of them.
        total: Number of all files.
        what: What became of them, 'files could not be converted'.
        rest: What became of the others.
    """
    lines = [f"{len(failures)} of {total} {what}{rest}:"]
    lines += [f"  • {failure.message}" for failure in failures[:SHOWN]]
    lines += [f"  • and {len(failures) - SHOWN} more"] if len(failures) > SHOWN else []
    return UserError("\n".join(lines), fix=failures[0].fix)


def size_text(size: float) -> str:
    """Returns a number of bytes in words, e.g. '1.4 GB' (powers of ten, as disks are sold)."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit in ("bytes", "kB") else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
