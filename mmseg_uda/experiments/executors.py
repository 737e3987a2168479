"""Runs jobs as processes on this machine: one per slot at a time, until all have ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from mmseg_uda.experiments.grid import Job
from mmseg_uda.experiments.jobs import Action, JobFolder, State
from mmseg_uda.experiments.slots import Slot
from mmseg_uda.files import tail

POLL_SECONDS = 0.2
PATIENCE_SECONDS = 15.0
"""How long a training may take to end after it was asked to."""

# A training that one of these ended did not fail by itself; it resumes at the next call.
CUT_OFF_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)


@dataclass
class Task:
    """A job ready to train: its config is written, its fingerprint known."""

    job: Job
    folder: JobFolder
    config: Path
    fingerprint: str
    action: Action | None = None
    slot: Slot | None = None
    state: State = State.PENDING
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)


class Display(Protocol):
    """What the user sees while jobs run."""

    def update(self, tasks: Sequence[Task]) -> None:
        """Called at every poll."""

    def note(self, task: Task, text: str) -> None:
        """Called when something happened to a task."""


class LocalExecutor:
    """Trains tasks on the slots of this machine.

    Args:
        slots: Places that train one task at a time.
        command: Makes the command line of a task.
        display: Where progress is shown.
        retry_failed: Whether failed jobs run again.
        force: Whether folders of another config are put aside.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        command: Callable[[Task], list[str]],
        display: Display,
        retry_failed: bool = False,
        force: bool = False,
    ) -> None:
        self.slots = list(slots)
        self.command = command
        self.display = display
        self.retry_failed = retry_failed
        self.force = force
        self._stop: int = 0
        self._stop_time = 0.0

    def run(self, tasks: Sequence[Task]) -> bool:
        """Trains the tasks in order; returns False when the user interrupted.

        SIGINT, SIGTERM and SIGHUP end the trainings cleanly (a second one kills them) and mark
        their jobs interrupted.
        """
        waiting = deque(tasks)
        free = deque(self.slots)
        running: list[Task] = []
        caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        previous = {number: signal.signal(number, self._on_signal) for number in caught}
        try:
            while running or (waiting and not self._stop):
                while waiting and free and not self._stop:
                    task = waiting.popleft()
                    if self._start(task, free[0]):
                        free.popleft()
                        running.append(task)
                if self._stop:
                    self._ask_to_end(running)
                for task in [t for t in running if t.process and t.process.poll() is not None]:
                    running.remove(task)
                    assert task.slot is not None
                    free.append(task.slot)
                    self._end(task)
                self.display.update(tasks)
                if running:
                    time.sleep(POLL_SECONDS)
        finally:
            for task in running:  # only after an error of the runner itself
                self._signal(task, signal.SIGKILL)
                task.folder.finish(State.INTERRUPTED, None, "the runner stopped")
            for number, handler in previous.items():
                signal.signal(number, handler)
        return not self._stop

    def _start(self, task: Task, slot: Slot) -> bool:
        task.action = task.folder.claim(task.fingerprint, self.retry_failed, self.force)
        if task.action not in (Action.START, Action.RESUME):
            task.state = task.folder.status().state
            self.display.note(task, task.action.value)
            return False
        task.slot = slot
        lock = task.folder.lock.fileno()
        with task.folder.log.open("ab") as log:
            task.process = subprocess.Popen(
                self.command(task),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **slot.environment, "PYTHONUNBUFFERED": "1"},
                pass_fds=(lock,),  # so that the lock lives as long as the training
                start_new_session=True,  # Ctrl-C reaches the runner alone, which ends it in order
            )
        task.folder.begin(task.fingerprint, task.process.pid)
        task.state = State.RUNNING
        verb = "resumed" if task.action is Action.RESUME else "started"
        self.display.note(task, f"{verb} on {slot.name}, log: {task.folder.log}")
        return True

    def _end(self, task: Task) -> None:
        assert task.process is not None
        code = task.process.returncode
        if code == 0:
            task.state, message = State.DONE, ""
        elif self._stop or -code in CUT_OFF_SIGNALS:
            task.state = State.INTERRUPTED
            message = "by the user" if self._stop else f"by {signal.Signals(-code).name}"
        else:
            task.state, message = State.FAILED, f"exit status {code}"
        task.folder.finish(task.state, code, message)
        text = f"{task.state.value} {message}".strip()
        if task.state is State.FAILED:
            text += f"; the end of {task.folder.log}:\n{tail(task.folder.log, 20)}"
        self.display.note(task, text)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop += 1
        if self._stop == 1:
            self._stop_time = time.monotonic()

    def _ask_to_end(self, running: Sequence[Task]) -> None:
        late = time.monotonic() - self._stop_time > PATIENCE_SECONDS
        number = signal.SIGKILL if self._stop > 1 or late else signal.SIGTERM
        for task in running:
            if number == signal.SIGKILL or task.state is State.RUNNING:
                self._signal(task, number)
                task.state = State.INTERRUPTED

    @staticmethod
    def _signal(task: Task, number: signal.Signals) -> None:
        if task.process is not None and task.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(task.process.pid, number)  # the data loader's workers too
