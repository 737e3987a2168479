"""Runs a function in several connected processes on this machine.

The processes are forked from a server that has imported everything once, so a start takes a
fraction of a second. Functions must be importable: they stand in ``process_tasks``.
"""

import multiprocessing
import os
import tempfile
import traceback
from pathlib import Path

import torch
from mmengine.registry import init_default_scope

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["mmseg_uda.register_all"])


def _process(task, rank, world, folder, args):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world))
    os.environ.update(GLOO_SOCKET_IFNAME="lo")
    torch.set_num_threads(1)
    init_default_scope("mmseg")
    try:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world
        )
        result = task(*args)
        torch.distributed.destroy_process_group()
    except BaseException as error:
        text = "".join(traceback.format_exception(error))
        result = dict(error=type(error).__name__, message=str(error), traceback=text)
    torch.save(result, Path(folder) / f"{rank}.pt")


def start(task, *args, world=2, seconds=300):
    """Exit status of every process, and what ``task`` returned, None after a kill.

    A task that raised returns ``error`` (the exception's name), ``message`` and ``traceback``.
    """
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            CONTEXT.Process(target=_process, args=(task, rank, world, folder, args))
            for rank in range(world)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(seconds)
        hanging = [rank for rank, process in enumerate(processes) if process.is_alive()]
        for process in processes:
            process.kill()
            process.join()
        assert not hanging, f"processes {hanging} hang"
        files = [Path(folder) / f"{rank}.pt" for rank in range(world)]
        results = [torch.load(f, weights_only=False) if f.exists() else None for f in files]
        return [process.exitcode for process in processes], results


def together(task, *args, world=2, seconds=300):
    """What ``task(*args)`` returned in each process; fails if one raised."""
    _, results = start(task, *args, world=world, seconds=seconds)
    for rank, result in enumerate(results):
        failed = isinstance(result, dict) and "traceback" in result
        assert not failed, f"process {rank}:\n{result['traceback']}"
    return results
