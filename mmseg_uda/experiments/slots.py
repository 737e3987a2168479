"""Where trainings run on this machine: one slot per GPU or group of GPUs, or a few CPU slots."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmseg_uda.errors import UserError

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",  # torch takes its number of threads from this one
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


@dataclass(frozen=True)
class Slot:
    """A place for one training at a time.

    Attributes:
        name: What the user reads, e.g. 'GPU 0' or 'GPU 0+1'.
        environment: Variables of the training's process.
        processes: Number of processes that share the training.
    """

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    processes: int = 1


def visible_gpus() -> list[str]:
    """Returns the ids of the machine's NVIDIA GPUs, respecting ``CUDA_VISIBLE_DEVICES``."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [gpu.strip() for gpu in listed.split(",") if gpu.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]


def usable_cores() -> int:
    """Returns the number of CPU cores that this process may use (affinity and cgroup quota)."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return cores


def cpu_slots(jobs: int, threads: int | None, processes: int = 1) -> list[Slot]:
    """Returns CPU slots with ``threads`` threads per process (default: the cores shared out)."""
    threads = threads or max(1, usable_cores() // (jobs * processes))
    environment = dict.fromkeys(THREAD_VARIABLES, str(threads))
    environment["CUDA_VISIBLE_DEVICES"] = ""
    return [Slot(f"CPU {number}", environment, processes) for number in range(jobs)]


def make_slots(
    gpus: str | None,
    cpu_jobs: int | None,
    threads: int | None,
    jobs: int,
    small: bool,
    gpus_per_job: int = 1,
) -> list[Slot]:
    """Chooses the slots for ``jobs`` trainings.

    Args:
        gpus: '0,2', 'all', 'cpu', or None for all that there are.
        cpu_jobs: Trainings at a time on the CPU, default one per core for small ones, else one.
        threads: CPU threads of a training on the CPU.
        jobs: Number of trainings to run.
        small: Whether a training is small enough for one core.
        gpus_per_job: GPUs, or processes on the CPU, that share one training.

    Raises:
        UserError: For GPUs that the machine does not have.
    """
    present = [] if gpus == "cpu" else visible_gpus()
    chosen: Sequence[str] = present
    if gpus not in (None, "cpu") and not present:
        raise UserError(
            f"--gpus {gpus}: this machine has no usable GPU.",
            fix="Use --gpus cpu; python tools/doctor.py says what the installation lacks.",
        )
    if gpus not in (None, "all", "cpu"):
        assert gpus is not None
        chosen = [gpu.strip() for gpu in gpus.split(",") if gpu.strip()]
        absent = [gpu for gpu in chosen if gpu not in present]
        if absent or not chosen:
            raise UserError(
                f"--gpus {gpus}: this machine has the GPUs {', '.join(present)}.",
                fix="Choose from those, or leave the option away (--gpus cpu trains on the CPU).",
            )
    if chosen and len(chosen) < gpus_per_job:
        raise UserError(
            f"--gpus-per-job {gpus_per_job}: there {'is' if len(chosen) == 1 else 'are'} only "
            f"{len(chosen)} GPU{'s' * (len(chosen) > 1)} to use.",
            fix="Give a smaller number, or more --gpus.",
        )
    if chosen:
        groups = [
            list(chosen[start : start + gpus_per_job])
            for start in range(0, len(chosen) - gpus_per_job + 1, gpus_per_job)
        ]
        return [
            Slot(f"GPU {'+'.join(group)}", {"CUDA_VISIBLE_DEVICES": ",".join(group)}, gpus_per_job)
            for group in groups
        ]
    default = min(usable_cores() // gpus_per_job or 1, max(1, jobs)) if small else 1
    return cpu_slots(cpu_jobs or default, threads, gpus_per_job)
