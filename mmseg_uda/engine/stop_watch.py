"""Obeys stop signals while the program waits for another process that does not answer.

Python runs a signal's handler in the main thread only, which may be inside of a collective
operation until that times out. A thread beside it sees the signal at once.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

from mmseg_uda.cli import report_error
from mmseg_uda.engine.processes import wait_for
from mmseg_uda.errors import UserError
from mmseg_uda.loader import kill_workers

GRACE_SECONDS = 15.0
"""How long other processes may take to come to where all agree to end; torchrun kills after 30."""

_POLL = 0.5
_COLLECTIVES = os.path.join("torch", "distributed", "distributed_c10d.py")


class StopWatch:
    """Ends the process some seconds after a stop signal if the main thread waits for others.

    Args:
        signals: Those that ask to end.
        explain: Makes the message; its ``status`` is the process's.
    """

    def __init__(
        self, signals: Sequence[signal.Signals], explain: Callable[[signal.Signals], UserError]
    ) -> None:
        self._signals = signals
        self._explain = explain
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._previous = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._open = True
        threading.Thread(target=self._watch, daemon=True).start()

    def close(self) -> None:
        """Stops watching: the signal is obeyed, or the run is over."""
        if self._open:
            self._open = False
            signal.set_wakeup_fd(self._previous)
            os.close(self._write)

    def _watch(self) -> None:
        asked: list[signal.Signals] = []
        blocked = 0.0
        while True:
            if select.select([self._read], [], [], _POLL if asked else None)[0]:
                received = os.read(self._read, 1)
                if not received:  # closed
                    os.close(self._read)
                    return
                asked += [number for number in self._signals if number == received[0]]
                continue
            blocked = blocked + _POLL if is_waiting_for_others() else 0.0
            if blocked >= GRACE_SECONDS or (blocked and asked.count(signal.SIGINT) > 1):
                status = report_error(self._explain(asked[0]))
                kill_workers()
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)


def is_waiting_for_others() -> bool:
    """Whether the main thread is inside of a collective operation."""
    frame: FrameType | None = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        code = frame.f_code
        if code is wait_for.__code__ or code.co_filename.endswith(_COLLECTIVES):
            return True
        frame = frame.f_back
    return False
