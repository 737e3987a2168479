"""Runs jobs as processes on this machine: one per slot at a time, until all have ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from mmseg_uda.experiments import processes
from mmseg_uda.experiments.grid import Job
from mmseg_uda.experiments.jobs import LOST, Action, JobFolder, State, outcome
from mmseg_uda.experiments.slots import Slot
from mmseg_uda.files import tail
from mmseg_uda.signals import heeded, leave_lost_terminal

POLL_SECONDS = 0.2
PATIENCE_SECONDS = 120.0
"""How long a training may take to finish its step and to save after it was asked to end."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ASKED = "asked to finish the step, save and end; Ctrl-C again ends it at once"
BY_USER = "by the user"


@dataclass
class Task:
    """A job ready to train: its config is written, its fingerprint known.

    Attributes:
        job: The job.
        folder: Its folder.
        config: Its config file.
        fingerprint: Of config and options.
        needs: Names of the jobs whose results it reads.
        trains: Whether it is a training; else it aligns taxonomies.
        action: What this runner does with it.
        place: Where it trains, for the user.
        state: What has become of it.
        ran: Whether this runner has trained it.
        ending: Whether it was asked to end.
    """

    job: Job
    folder: JobFolder
    config: Path
    fingerprint: str
    needs: tuple[str, ...] = ()
    trains: bool = True
    action: Action | None = None
    place: str = ""
    state: State = State.PENDING
    ran: bool = False
    ending: bool = False
    slot: Slot | None = field(default=None, repr=False)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)


def take_ready(waiting: list[Task], tasks: Sequence[Task], display: Display) -> Task | None:
    """Takes the first waiting task whose inputs are made; drops those that will get none.

    Args:
        waiting: Tasks that have not been looked at; the taken and the dropped ones are removed.
        tasks: All tasks of the run.
        display: Is told about dropped tasks.
    """
    by_name = {task.job.name: task for task in tasks}
    for task in list(waiting):
        makers = [by_name[name] for name in task.needs]
        if all(maker.state is State.DONE for maker in makers):
            waiting.remove(task)
            return task
        lost = [m for m in makers if m.state is not State.DONE and _has_ended(m, waiting)]
        if lost:
            waiting.remove(task)
            display.note(task, f"left out: it needs {lost[0].job.name}, which is not done")
    return None


def _has_ended(task: Task, waiting: Sequence[Task]) -> bool:
    """Whether this runner does nothing more for a task."""
    if any(task is other for other in waiting):
        return False
    if task.action in (Action.START, Action.RESUME) or task.ran:
        return task.state in (State.FAILED, State.INTERRUPTED)
    return True  # skipped, or left out itself


class Display(Protocol):
    """What the user sees while jobs run."""

    def update(self, tasks: Sequence[Task]) -> None:
        """Called at every poll."""

    def note(self, task: Task, text: str) -> None:
        """Called when something happened to a task."""


class Stop:
    """Counts the signals that ask this program to end, while it is entered."""

    def __init__(self) -> None:
        self.count = 0
        self.time = 0.0
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stop:
        heard = heeded(STOP_SIGNALS)
        self._previous = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            leave_lost_terminal()
        self.count += 1
        if self.count == 1:
            self.time = time.monotonic()

    @property
    def impatient(self) -> bool:
        """Whether there was a second signal, or the first is long ago."""
        return self.count > 1 or time.monotonic() - self.time > PATIENCE_SECONDS


class LocalExecutor:
    """Trains tasks on the slots of this machine.

    Args:
        slots: Places that train one task at a time.
        command: Makes the command line of a task for a number of processes.
        display: Where progress is shown.
        retry_failed: Whether failed jobs run again.
        force: Whether folders of another config are put aside.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        command: Callable[[Task, int], list[str]],
        display: Display,
        retry_failed: bool = False,
        force: bool = False,
    ) -> None:
        self.slots = list(slots)
        self.command = command
        self.display = display
        self.retry_failed = retry_failed
        self.force = force
        self._stop = Stop()

    def run(self, tasks: Sequence[Task]) -> bool:
        """Trains the tasks in order; returns False when the user interrupted.

        SIGINT, SIGTERM and SIGHUP make the trainings finish their step, save and end, and mark
        their jobs interrupted; a second one kills them.
        """
        waiting = list(tasks)
        free = deque(self.slots)
        running: list[Task] = []
        try:
            with self._stop:
                while running or (waiting and not self._stop.count):
                    while free and not self._stop.count:
                        task = take_ready(waiting, tasks, self.display)
                        if task is None:
                            break
                        if self._start(task, free[0]):
                            free.popleft()
                            running.append(task)
                    if self._stop.count:
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
                assert task.process is not None
                processes.kill(task.process.pid)
                task.folder.finish(State.INTERRUPTED, None, "the runner stopped")
        return not self._stop.count

    def _start(self, task: Task, slot: Slot) -> bool:
        task.action = task.folder.claim(task.fingerprint, self.retry_failed, self.force)
        if task.action not in (Action.START, Action.RESUME):
            task.state = task.folder.status().state
            self.display.note(task, task.action.value)
            return False
        task.slot, task.place = slot, slot.name
        task.process = start_training(
            self.command(task, slot.processes), task.folder, slot.environment
        )
        task.folder.begin(task.fingerprint, task.process.pid)
        task.state, task.ran = State.RUNNING, True
        verb = "resumed" if task.action is Action.RESUME else "started"
        self.display.note(task, f"{verb} on {slot.name}, log: {task.folder.log}")
        return True

    def _end(self, task: Task) -> None:
        assert task.process is not None
        code = task.process.returncode
        task.state, message = outcome(code, BY_USER if task.ending else "")
        task.folder.finish(task.state, code, message)
        self.display.note(task, ending_text(task, message))

    def _ask_to_end(self, running: Sequence[Task]) -> None:
        for task in running:
            assert task.process is not None
            if task.process.poll() is not None:
                continue
            if self._stop.impatient:
                processes.kill(task.process.pid)
            elif not task.ending:
                processes.ask_to_end(task.process.pid)
                self.display.note(task, ASKED)
            task.ending = True


def start_training(
    command: Sequence[str], folder: JobFolder, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Starts a training whose output goes to the folder's log; it inherits the folder's lock.

    Args:
        command: Program and arguments.
        folder: The job's folder, which this process has claimed.
        environment: Variables beside this process's own.
    """
    with folder.log.open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {}), "PYTHONUNBUFFERED": "1"},
            pass_fds=(folder.lock.fileno(),),
            start_new_session=True,  # Ctrl-C reaches the runner alone, which ends it in order
        )


def ending_text(task: Task, message: str) -> str:
    """Returns how a training ended; after a failure, its or the machine's, with its log's end."""
    text = f"{task.state.value} {message}".strip()
    if task.state is State.FAILED or message == LOST:
        text += f"; the end of {task.folder.log}:\n{tail(task.folder.log, 20)}"
    return text
