"""Ending a training with everything that it started."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def ask_to_end(pid: int) -> None:
    """Sends SIGTERM to a training, which finishes its step, saves and ends.

    It goes to this process alone: the training tells its own children what to do.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def kill(pid: int) -> None:
    """Ends a process and all that descend from it, data-loading workers and torchrun's ranks."""
    # Ranks are in sessions of their own, so killing the process group would leave them alone.
    for member in family(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def family(pid: int) -> list[int]:
    """Returns a process and its descendants, where /proc tells them; else the process alone."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            # 'pid (name, which may hold blanks) state parent ...'
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue  # has ended meanwhile
        children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found
