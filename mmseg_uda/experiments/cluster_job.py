"""What runs on a cluster's node: one training, which outlives preemptions and time limits.

submitit calls the object, and on its warning signal (preemption, end of the time limit) its
``checkpoint``: the training then finishes its step and saves, and the cluster queues the job
again. The same happens when the training itself ends with the status "run it again".
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmseg_uda.errors import REQUEUE_STATUS
from mmseg_uda.experiments import processes
from mmseg_uda.experiments.executors import POLL_SECONDS, start_training
from mmseg_uda.experiments.jobs import Action, JobFolder, State, outcome

SUBMISSION_SECONDS = 120.0
"""How long the program that submits may hold a job's lock."""

SAVE_SECONDS = 80.0
"""How long a training may take to save; the cluster's warning comes 90 s before the end."""

QUEUED_AGAIN = "state saved, queued again"


@dataclass
class ClusterTraining:
    """One training as a cluster job.

    Attributes:
        path: The job's folder.
        fingerprint: Of its config and options.
        command: Program and arguments that train it.
    """

    path: Path
    fingerprint: str
    command: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _folder: JobFolder | None = field(default=None, init=False, repr=False)

    def __call__(self) -> str:
        """Trains; returns the job's state in words.

        Raises:
            SystemExit: The training was ended by the cluster or the user and has saved its state.
        """
        folder = JobFolder(self.path)
        action = self._claim(folder)
        if action not in (Action.START, Action.RESUME):
            return action.value
        self.process = start_training(self.command, folder)
        folder.begin(self.fingerprint, self.process.pid)
        self._folder = folder
        try:
            # Not wait(), which holds a lock that checkpoint(), in a signal handler, would need.
            while not has_ended(self.process.pid):
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:  # a cancelled job of submitit's local executor
            folder.finish(State.INTERRUPTED, self._end_training(), "cancelled")
            raise
        code = exit_status(self.process.pid)
        if code == REQUEUE_STATUS and is_wanted():
            warn_submitit()  # does not return: it ends this process and queues the job again
        state, message = outcome(code)
        folder.finish(state, code, message)
        if code == REQUEUE_STATUS:
            # No result, so that nobody takes the job for finished if the cluster starts it again.
            raise SystemExit(code)
        return state.value

    def checkpoint(self) -> Any:
        """Ends the training in order; returns what the cluster is to run later."""
        from submitit.helpers import DelayedSubmission

        if self._folder is not None:
            code = self._end_training()
            self._folder.finish(State.INTERRUPTED, code, QUEUED_AGAIN, queued_again=True)
        return DelayedSubmission(replace(self))

    def _claim(self, folder: JobFolder) -> Action:
        """Waits while the lock is still with the program that submitted the job."""
        deadline = time.monotonic() + SUBMISSION_SECONDS
        while True:
            action = folder.claim(self.fingerprint, retry_failed=True)
            if action is not Action.SKIP_LOCKED or time.monotonic() > deadline:
                return action
            time.sleep(POLL_SECONDS)

    def _end_training(self) -> int:
        assert self.process is not None
        pid = self.process.pid
        processes.ask_to_end(pid)
        deadline = time.monotonic() + SAVE_SECONDS
        while not has_ended(pid):
            if time.monotonic() > deadline:
                processes.kill(pid)
            time.sleep(POLL_SECONDS)
        return exit_status(pid)


def has_ended(pid: int) -> bool:
    """Returns whether a child of this process has ended."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def exit_status(pid: int) -> int:
    """Returns the exit status of a child that has ended, negative for a signal."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def is_wanted() -> bool:
    """Returns whether the cluster still counts on this job: it was not cancelled by the user."""
    from submitit import JobEnvironment

    environment = JobEnvironment()
    if environment.cluster != "slurm":
        return True
    query = ["scontrol", "show", "job", "--oneliner", environment.raw_job_id]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return "JobState=RUNNING" in answer.stdout.split()


def warn_submitit() -> None:
    """Makes submitit queue this job again, as if the cluster had sent its warning signal."""
    from submitit import JobEnvironment

    os.kill(os.getpid(), getattr(signal, f"SIG{JobEnvironment.USR_SIG}"))
    time.sleep(1)  # the handler runs before this returns, and raises SystemExit
