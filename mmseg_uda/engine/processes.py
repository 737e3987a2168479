"""Starting the processes of one training, and decisions that all of them must take alike."""

from __future__ import annotations

import datetime
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
from mmengine.dist import broadcast_object_list, get_rank, get_world_size, init_dist
from mmengine.dist import is_distributed as processes_joined
from torch import Tensor, distributed

from mmseg_uda.errors import UserError

T = TypeVar("T")

STEP_TIMEOUT, STEP_SECONDS = "step_timeout", 1800.0

# What each launcher tells a process: its number, how many there are, its number on the machine.
LAUNCHER_VARIABLES = {
    "pytorch": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
}
STARTED_BY = {
    "pytorch": "torchrun (tools/dist_train.sh CONFIG GPUS)",
    "slurm": "srun",
    "mpi": "mpirun",
}


def check_launcher(launcher: str) -> None:
    """Raises unless this process was started as ``--launcher`` says.

    Raises:
        UserError: The launcher's variables are missing, or torchrun started several processes
            that do not know of each other and would write into one work directory.
    """
    if launcher == "none":
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UserError(
                f"torchrun started {os.environ['WORLD_SIZE']} processes, but --launcher is none: "
                "each would train by itself.",
                fix="Add --launcher pytorch.",
            )
        return
    missing = [name for name in LAUNCHER_VARIABLES[launcher] if name not in os.environ]
    if missing:
        raise UserError(
            f"--launcher {launcher} needs the environment of {STARTED_BY[launcher]}; "
            f"{missing[0]} is not set.",
            fix=f"Start with {STARTED_BY[launcher]}, or leave --launcher out for one process.",
        )


def join_processes(launcher: str, options: Mapping[str, Any]) -> None:
    """Connects this process with the others of the training.

    On machines without a GPU the backend is gloo, whatever the options say.

    Args:
        launcher: ``pytorch`` (torchrun), ``slurm`` or ``mpi``.
        options: ``env_cfg.dist_cfg``: ``backend``, ``timeout`` and ``step_timeout`` in seconds
            (:func:`limit_waits`), and what else ``torch.distributed.init_process_group`` takes.

    Raises:
        UserError: The process was not started by the launcher, or has no GPU of its own.
    """
    check_launcher(launcher)
    options = {key: value for key, value in options.items() if key != STEP_TIMEOUT}
    rank, world_size, local_rank = (os.environ[v] for v in LAUNCHER_VARIABLES[launcher])
    if torch.cuda.is_available():
        if int(local_rank) >= torch.cuda.device_count():
            raise UserError(
                f"Process {local_rank} of this machine has no GPU: there are "
                f"{torch.cuda.device_count()}.",
                fix="Start as many processes per machine as it has GPUs.",
            )
        init_dist(launcher, **{"backend": "nccl", **options})
        return
    # mmengine's start-up selects a CUDA device in any case.
    os.environ.update(RANK=rank, WORLD_SIZE=world_size, LOCAL_RANK=local_rank)
    if launcher == "slurm":
        nodes = os.environ.get("SLURM_NODELIST", "localhost")
        os.environ.setdefault("MASTER_ADDR", _first_host(nodes))
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")
    seconds = options.get("timeout")
    timeout = None if seconds is None else datetime.timedelta(seconds=seconds)
    distributed.init_process_group("gloo", timeout=timeout)


def limit_waits(options: Mapping[str, Any]) -> float:
    """Lets the processes wait for each other no longer than a step may take, from now on.

    At the start they wait longer: the first process may count classes or build banks.

    Args:
        options: ``env_cfg.dist_cfg``.

    Returns:
        The seconds: ``step_timeout``, or ``timeout`` where that is less.
    """
    seconds = options.get(STEP_TIMEOUT, STEP_SECONDS)
    seconds = min(seconds, options.get("timeout") or seconds)
    if processes_joined():
        distributed.distributed_c10d._set_pg_timeout(datetime.timedelta(seconds=seconds))
    return seconds


def wait_for(work: Any) -> None:
    """Waits for an exchange that was begun; the others' part of it may be long in coming."""
    work.wait()


def leave_processes() -> None:
    """Closes the connections at the end of a run that went well; nothing in one process."""
    if processes_joined():
        distributed.destroy_process_group()


def _first_host(nodes: str) -> str:
    if not any(mark in nodes for mark in ",["):
        return nodes
    found = subprocess.run(
        ["scontrol", "show", "hostname", nodes], capture_output=True, text=True, check=True
    )
    return found.stdout.split()[0]


def from_main_process(compute: Callable[[], T]) -> T:
    """What ``compute`` returns in the main process, in all processes.

    For decisions that depend on files: every process must come to the same one. All processes
    must call it at the same place.

    Raises:
        UserError: In every process, if ``compute`` raised it.
    """
    if get_world_size() == 1:
        return compute()
    message: list[Any] = [None, None]
    if get_rank() == 0:
        try:
            message[0] = compute()
        except UserError as error:
            message[1] = (error.message, error.fix, error.status)
    broadcast_object_list(message)
    if message[1] is not None:
        text, fix, status = message[1]
        told = UserError(text, fix=fix)
        told.status = status
        raise told
    return message[0]


def copy_from_main(tensors: Iterable[Tensor]) -> None:
    """Overwrites tensors with those of the main process; nothing in one process."""
    if get_world_size() == 1:
        return
    with torch.no_grad():
        for tensor in tensors:
            values = tensor.detach().contiguous()  # NCCL takes no other memory layout
            distributed.broadcast(values, 0)
            tensor.copy_(values)
