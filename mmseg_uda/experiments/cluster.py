"""Trains jobs on a Slurm cluster through submitit, and follows them from the login node.

A job's folder is the same as on one machine: the node writes its status, progress and log there.
The program that submitted the jobs may end; the same command finds them again.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mmseg_uda.errors import UserError
from mmseg_uda.experiments.cluster_job import ClusterTraining
from mmseg_uda.files import tail

LOCAL, SLURM = "submitit-local", "slurm"
WARNING_SECONDS = 90  # before the end of the time limit; cluster_job.SAVE_SECONDS fits in
QUEUE_SECONDS = 60.0
OUTPUT_LINES = 20


@dataclass(frozen=True)
class ClusterOptions:
    """What each job asks the cluster for.

    Attributes:
        kind: 'slurm', or 'submitit-local': the same on this machine, without a cluster.
        minutes: Time limit; a job that reaches it is queued again and resumes.
        gpus: GPUs of a job.
        cpus: CPU cores of a job.
        memory: GB of main memory of a job, None for the cluster's default.
        partition: Slurm partition, None for the cluster's default.
        parallel: Jobs that may run at the same time, None for as many as the cluster grants.
        requeues: How often a job may reach its time limit.
        setup: Shell commands before the training.
        extra: Further options of sbatch.
    """

    kind: str = SLURM
    minutes: float = 24 * 60
    gpus: int = 1
    cpus: int = 5
    memory: float | None = None
    partition: str | None = None
    parallel: int | None = None
    requeues: int = 50
    setup: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)


class Handle(Protocol):
    """A job on the cluster."""

    job_id: str

    def has_ended(self) -> bool:
        """Returns whether it neither runs nor waits any more."""

    def state(self) -> str:
        """Returns the cluster's word for its state."""

    def cancel(self) -> None:
        """Ends it or takes it out of the queue."""

    def output(self) -> str:
        """Returns the last lines of what it printed outside the training's log."""


class Cluster(Protocol):
    """Where jobs are submitted."""

    name: str
    capacity: int | None  # jobs to submit at a time; None: all, the cluster holds some back

    def submit(self, calls: Sequence[ClusterTraining]) -> list[Handle]:
        """Submits trainings."""

    def find(self, job_id: str) -> Handle | None:
        """Returns an earlier job that still runs or waits, None if there is none."""


def make_cluster(folder: Path, options: ClusterOptions) -> Cluster:
    """Connects with the cluster.

    Args:
        folder: For submitit's files, on a file system that the nodes share.
        options: What jobs ask for.

    Raises:
        UserError: submitit or Slurm is not there, or an option is wrong.
    """
    try:
        import submitit
    except ImportError as error:
        raise UserError(
            f"--executor {options.kind} needs the package submitit.",
            fix="pip install 'mmseg_uda[slurm]' (or: pip install submitit).",
        ) from error
    submitit.core.logger.get_logger().setLevel(logging.ERROR)  # it would break the live table
    return _Local(folder, options) if options.kind == LOCAL else _Slurm(folder, options)


class _Slurm:
    name = "Slurm"
    capacity: int | None = None

    def __init__(self, folder: Path, options: ClusterOptions) -> None:
        from submitit import SlurmExecutor

        self.folder = folder
        try:
            self.executor = SlurmExecutor(folder=folder, max_num_timeout=options.requeues)
        except RuntimeError as error:
            raise UserError(
                "There is no Slurm on this machine (no command srun).",
                fix="Start on the cluster's login node, or train here: --executor local.",
            ) from error
        self.executor.update_parameters(**sbatch_options(options))

    def submit(self, calls: Sequence[ClusterTraining]) -> list[Handle]:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        try:
            jobs = self.executor.submit_array(list(calls))
        except (FailedJobError, FailedSubmissionError) as error:
            raise UserError(
                f"Slurm did not take the jobs: {str(error).strip()}",
                fix="Check --partition, --time, --mem and --slurm-options against the cluster's "
                "limits (sinfo, sacctmgr show qos).",
            ) from error
        return [_SlurmHandle(job) for job in jobs]

    def find(self, job_id: str) -> Handle | None:
        from submitit import SlurmJob

        handle = _SlurmHandle(SlurmJob(folder=self.folder, job_id=job_id, tasks=[0]))
        return None if handle.has_ended() else handle


class _SlurmHandle:
    def __init__(self, job: Any) -> None:
        self.job = job
        self.job_id: str = job.job_id
        self._asked = -math.inf
        self._in_queue = True

    def has_ended(self) -> bool:
        if self.job.done():
            return True
        return self.job.state.upper() == "UNKNOWN" and not self._is_in_queue()

    def state(self) -> str:
        return self.job.get_info().get("State", "") or "UNKNOWN"

    def cancel(self) -> None:
        self.job.cancel(check=False)

    def output(self) -> str:
        return tail(self.job.paths.stdout, OUTPUT_LINES)

    def _is_in_queue(self) -> bool:
        """Asks Slurm's queue: accounting (sacct) may be switched off, or have forgotten the job."""
        now = time.monotonic()
        if now - self._asked >= QUEUE_SECONDS:
            self._asked = now
            query = ["squeue", "--noheader", "--format=%T", "--jobs", self.job_id]
            try:
                answer = subprocess.run(query, capture_output=True, text=True, timeout=60)
            except (OSError, subprocess.SubprocessError):
                return True
            gone = answer.returncode != 0 and "Invalid job id" in answer.stderr
            self._in_queue = bool(answer.stdout.strip()) or not (gone or answer.returncode == 0)
        return self._in_queue


class _Local:
    name = "submitit"

    def __init__(self, folder: Path, options: ClusterOptions) -> None:
        from submitit import LocalExecutor

        self.capacity: int | None = options.parallel or 1
        self.executor = LocalExecutor(folder=folder, max_num_timeout=options.requeues)
        self.executor.update_parameters(
            timeout_min=options.minutes,
            gpus_per_node=options.gpus,
            signal_delay_s=min(WARNING_SECONDS, int(30 * options.minutes)),
            stderr_to_stdout=True,
            setup=options.setup,
        )

    def submit(self, calls: Sequence[ClusterTraining]) -> list[Handle]:
        return [_LocalHandle(job.job_id, job) for job in self.executor.submit_array(list(calls))]

    def find(self, job_id: str) -> Handle | None:
        handle = _LocalHandle(job_id)
        return None if handle.has_ended() else handle


class _LocalHandle:
    """A job of submitit's local executor; of an earlier program, only its process is known."""

    def __init__(self, job_id: str, job: Any = None) -> None:
        self.job_id = job_id
        self.job = job

    def has_ended(self) -> bool:
        if self.job is not None:
            return self.job.get_info()["jobState"] != "RUNNING"
        try:
            return b"submitit" not in Path("/proc", self.job_id, "cmdline").read_bytes()
        except OSError:
            return True

    def state(self) -> str:
        return "UNKNOWN" if self.job is None else self.job.get_info()["jobState"]

    def cancel(self) -> None:
        os.kill(int(self.job_id), signal.SIGINT)

    def output(self) -> str:
        return "" if self.job is None else tail(self.job.paths.stdout, OUTPUT_LINES)


def sbatch_options(options: ClusterOptions) -> dict[str, Any]:
    """Returns submitit's names and values for what a job asks for."""
    from submitit import SlurmExecutor

    chosen: dict[str, Any] = {
        "job_name": "mmseg_uda",
        "time": math.ceil(options.minutes),
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": options.cpus,
        "gpus_per_node": options.gpus or None,
        "partition": options.partition,
        "mem": None if options.memory is None else f"{math.ceil(options.memory * 1024)}MB",
        "array_parallelism": options.parallel,
        "signal_delay_s": WARNING_SECONDS,
        "stderr_to_stdout": True,
        "setup": list(options.setup) or None,
    }
    known = SlurmExecutor._valid_parameters()
    extra = {key.lstrip("-").replace("-", "_"): value for key, value in options.extra.items()}
    chosen |= {key: value for key, value in extra.items() if key in known}
    others = {key: value for key, value in extra.items() if key not in known}
    if others:
        chosen["additional_parameters"] = others
    return {key: value for key, value in chosen.items() if value is not None}


def parse_minutes(text: str) -> float:
    """Returns Slurm's notation of a duration in minutes.

    Args:
        text: minutes, minutes:seconds, hours:minutes:seconds, or days-hours[:minutes[:seconds]].

    Raises:
        UserError: It is none of these.
    """
    days, dash, rest = text.rpartition("-")
    try:
        parts = [int(part) for part in rest.split(":")]
        if dash:
            hours, minutes, seconds = (*parts, 0, 0)[:3]
            if len(parts) > 3:
                raise ValueError
            total = int(days) * 1440 + hours * 60 + minutes + seconds / 60
        elif len(parts) == 3:
            total = parts[0] * 60 + parts[1] + parts[2] / 60
        elif len(parts) <= 2:
            total = parts[0] + (parts[1] / 60 if parts[1:] else 0)
        else:
            raise ValueError
    except ValueError:
        total = 0.0
    if total <= 0:
        raise UserError(
            f"--time {text} is no duration.",
            fix="Give minutes, HH:MM:SS or D-HH:MM:SS, for example --time 2-00:00:00.",
        )
    return total
