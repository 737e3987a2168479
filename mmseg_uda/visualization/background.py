"""Work that must not hold up the training: one thread behind a short queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from mmengine.logging import print_log


class BackgroundWorker:
    """Runs functions one after the other in a thread of its own.

    A function that fails is reported, once per message, and forgotten: a full disk costs pictures,
    not the training.

    Args:
        name: Of the thread, for messages.
        waiting: How many functions may wait. What comes when as many do is dropped, not waited
            for.
    """

    def __init__(self, name: str, waiting: int = 2) -> None:
        self.name = name
        self.dropped = 0
        self._reported: set[str] = set()
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(maxsize=waiting)
        self._thread: threading.Thread | None = None

    def submit(self, work: Callable[[], None]) -> bool:
        """Hands over a function; returns False, and says so once, if the queue is full."""
        if self._thread is None:
            # A daemon: a training that ends with an error does not wait for its pictures.
            self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            self.dropped += 1
            if self.dropped == 1:
                print_log(
                    f"{self.name}: work comes faster than it is done; some is left out. Use a "
                    "longer interval.",
                    "current",
                    level=30,
                )
            return False
        return True

    def close(self, seconds: float = 60.0) -> bool:
        """Finishes what waits; returns whether that was done within ``seconds``."""
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        try:
            self._queue.put(None, timeout=seconds)
        except queue.Full:
            return False
        thread.join(seconds)
        return not thread.is_alive()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                work()
            except Exception as error:
                message = f"{self.name}: {type(error).__name__}: {error}"
                if message not in self._reported:
                    self._reported.add(message)
                    print_log(message, "current", level=40)
