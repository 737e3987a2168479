"""Which signals ask a program to end, and what a closed terminal takes with it."""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import Iterable


def heeded(signals: Iterable[signal.Signals]) -> list[signal.Signals]:
    """Leaves out SIGHUP where the program was started to outlive its terminal (``nohup``)."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in signals if number is not signal.SIGHUP or not ignored]


def leave_lost_terminal() -> None:
    """Writes to nowhere from now on where the terminal has been closed: each print would fail."""
    for stream in (sys.stdout, sys.stderr):
        try:
            number = stream.fileno()
        except (AttributeError, ValueError, OSError):
            continue  # replaced by something that is no file
        try:
            termios.tcgetattr(number)
        except termios.error as error:
            if error.args[0] == 5:  # EIO: a terminal that is no more; ENOTTY: a file
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
