"""The state of a job on disk: status file, lock and fingerprint of its config.

A job's folder tells everything that a later call needs: whether the job is done, was cut off or
failed, and which config it was trained with. The lock is one that the training process inherits,
so it is held as long as the runner *or* its training lives, and never outlives them; the training
itself holds another one (``mmseg_uda.locks.training_in``), however it was started.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

from mmseg_uda.cfg_options import SILENT_HOOKS, SILENT_KEYS
from mmseg_uda.errors import MACHINE_STATUS, REQUEUE_STATUS, UserError
from mmseg_uda.files import write_json
from mmseg_uda.locks import Lock, is_trained_in
from mmseg_uda.run_files import (
    STATUS,
    damaged,
    is_number,
    read_evaluations,
    read_progress,
    read_strictly,
)


class State(str, Enum):
    """What has become of a job."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Status:
    """Content of ``status.json``.

    Attributes:
        state: See ``State``.
        fingerprint: Of the config that the folder was made with.
        pid: Process id of the training.
        host: Machine of the last attempt.
        started: Start of the last attempt, seconds since the epoch.
        ended: Its end.
        seconds: Wall time of all attempts so far, without the running one.
        attempts: How often the job was started.
        exit_code: Of the last attempt.
        message: Why it failed or was interrupted.
        cluster_job: Id of the job on a cluster that trains it, or is to train it.
    """

    state: State = State.PENDING
    fingerprint: str | None = None
    pid: int | None = None
    host: str | None = None
    started: float | None = None
    ended: float | None = None
    seconds: float = 0.0
    attempts: int = 0
    exit_code: int | None = None
    message: str = ""
    cluster_job: str | None = None


MOVE_STATUS = (
    "Move it away: the job then goes on from its last checkpoint, and once more if it was done."
)


def _may(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or kind(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# What the fields of a status may hold.
KINDS: Mapping[str, Callable[[Any], bool]] = {
    "state": lambda value: value in [state.value for state in State],
    "fingerprint": _may(_is_text),
    "pid": _may(is_number),
    "host": _may(_is_text),
    "started": _may(is_number),
    "ended": _may(is_number),
    "seconds": is_number,
    "attempts": is_number,
    "exit_code": _may(is_number),
    "message": _is_text,
    "cluster_job": _may(_is_text),
}


class Action(Enum):
    """What a runner does with a job."""

    SKIP_DONE = "done before"
    SKIP_FAILED = "failed before"
    SKIP_LOCKED = "running elsewhere"
    START = "start"
    RESUME = "resume"


# A training that one of these ended did not fail by itself; it resumes at the next call.
CUT_OFF_SIGNALS = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL),
    *(signal.SIGUSR1, signal.SIGUSR2),
)


LOST = "a process of it was lost"


def outcome(code: int, asked: str = "") -> tuple[State, str]:
    """Returns what a training's exit status means, with a message for the user.

    Args:
        code: Exit status; negative, or above 128, for a signal.
        asked: Who had asked it to end, if anybody.
    """
    if code == 0:
        return State.DONE, ""
    number = -code if code < 0 else code - 128
    if code == REQUEUE_STATUS:
        return State.INTERRUPTED, f"{asked}, state saved".removeprefix(", ")
    if asked:
        return State.INTERRUPTED, asked
    if code == MACHINE_STATUS:
        return State.INTERRUPTED, LOST
    if number in CUT_OFF_SIGNALS:
        return State.INTERRUPTED, f"by {signal.Signals(number).name}"
    return State.FAILED, f"exit status {code}"


def fingerprint(config: Mapping[str, Any], extra: tuple[str, ...] = ()) -> str:
    """Returns a short hash of a resolved config and of further options.

    Args:
        config: Config as plain dicts, lists, tuples and scalars.
        extra: Options outside the config that change the run (``--amp``, ``--cfg-options``).
    """
    kept = {key: value for key, value in config.items() if key not in SILENT_KEYS}
    if isinstance(kept.get("default_hooks"), Mapping):
        hooks = kept["default_hooks"].items()
        kept["default_hooks"] = {name: hook for name, hook in hooks if name not in SILENT_HOOKS}
    text = json.dumps([kept, list(extra)], sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class JobFolder:
    """The folder of one job."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = Lock(path / "job.lock")

    @property
    def log(self) -> Path:
        """What the training prints."""
        return self.path / "train.log"

    def status(self) -> Status:
        """Returns the status as written, ``pending`` where there is none.

        Raises:
            UserError: The file is damaged.
        """
        path = self.path / STATUS
        content = read_strictly(path, MOVE_STATUS)
        if content is None:
            return Status()
        if not isinstance(content, dict):
            raise damaged(path, "it is no map", MOVE_STATUS)
        content = {
            field.name: content[field.name] for field in fields(Status) if field.name in content
        }
        for name, value in content.items():
            if not KINDS[name](value):
                raise damaged(path, f"{name} {value!r}", MOVE_STATUS)
        return Status(**{**content, "state": State(content.get("state", State.PENDING))})

    def write(self, status: Status) -> None:
        """Writes the status atomically."""
        content = asdict(status)
        content["state"] = status.state.value
        write_json(self.path / STATUS, content)

    def claim(
        self, print_of_config: str, retry_failed: bool = False, force: bool = False
    ) -> Action:
        """Decides what to do with the job; on START and RESUME its lock is held afterwards.

        A job that reads 'running' but whose lock is free was cut off (``kill -9``, power), so it
        resumes.

        Args:
            print_of_config: Fingerprint of the config to train.
            retry_failed: Whether failed jobs run again, from their last checkpoint.
            force: Whether a folder of another config is put aside instead of refused.

        Raises:
            UserError: When the folder was made with another config and ``force`` is off, or its
                status is damaged.
        """
        if not self.lock.acquire():
            return Action.SKIP_LOCKED
        if is_trained_in(self.path):  # by tools/train.py, or by what a killed runner left behind
            self.lock.release()
            return Action.SKIP_LOCKED
        try:
            status = self.status()
        except UserError:
            self.lock.release()
            raise
        if status.fingerprint not in (None, print_of_config):
            if not force:
                self.lock.release()
                raise UserError(
                    f"{self.path} holds a run with another config "
                    f"(fingerprint {status.fingerprint}, now {print_of_config}).",
                    fix="Give another --work-dir, or --force to train anew "
                    "(the old folder is kept beside it with the ending .old-N).",
                )
            self._put_aside()
            return Action.START
        if status.state == State.DONE:
            self.lock.release()
            return Action.SKIP_DONE
        if status.state == State.FAILED and not retry_failed:
            self.lock.release()
            return Action.SKIP_FAILED
        return Action.START if status.state == State.PENDING else Action.RESUME

    def begin(self, print_of_config: str, pid: int) -> None:
        """Notes that the training runs."""
        self.write(
            replace(
                self.status(),
                state=State.RUNNING,
                fingerprint=print_of_config,
                pid=pid,
                host=socket.gethostname(),
                started=time.time(),
                ended=None,
                exit_code=None,
                message="",
                attempts=self.status().attempts + 1,
            )
        )

    def queue(self, print_of_config: str, cluster_job: str) -> None:
        """Notes that a cluster is to train the job, and gives the lock back."""
        self.write(
            replace(
                self.status(),
                state=State.PENDING,
                fingerprint=print_of_config,
                cluster_job=cluster_job,
                message="",
            )
        )
        self.lock.release()

    def finish(
        self, state: State, exit_code: int | None, message: str = "", queued_again: bool = False
    ) -> Status:
        """Notes how the training ended, gives the lock back and returns the new status.

        Args:
            state: What has become of the job.
            exit_code: Of the training.
            message: Why it failed or was interrupted.
            queued_again: Whether its cluster job goes on later.
        """
        status = self.status()
        now = time.time()
        running = status.state is State.RUNNING and status.started is not None
        seconds = status.seconds + (max(0.0, now - (status.started or now)) if running else 0.0)
        status = replace(
            status,
            state=state,
            ended=now,
            seconds=seconds,
            exit_code=exit_code,
            message=message,
            cluster_job=status.cluster_job if queued_again else None,
        )
        self.write(status)
        self.lock.release()
        return status

    def progress(self) -> dict[str, Any]:
        """Returns the training's ``progress.json``: iter, max_iters, seconds_per_iter, ..."""
        return read_progress(self.path)

    def evaluations(self) -> list[dict[str, Any]]:
        """Returns the validations so far, in the order of iterations.

        Raises:
            UserError: Their file is damaged.
        """
        return read_evaluations(self.path)

    def _put_aside(self) -> None:
        number = 1
        while (old := self.path.with_name(f"{self.path.name}.old-{number}")).exists():
            number += 1
        # Renamed under the old lock, so that no other runner can claim the folder meanwhile.
        os.rename(self.path, old)
        self.lock.release()
        if not self.lock.acquire():
            raise UserError(f"Another runner has just claimed {self.path}.", fix="Try again.")
