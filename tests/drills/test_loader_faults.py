"""Drill: data-loading workers that are killed, hang or are stopped, and stop signals meanwhile."""

import multiprocessing
import os
import signal
import socket
import time
from multiprocessing.resource_sharer import DupFd
from pathlib import Path

import pytest
import torch
from child import end_of, reached, start, wait_for
from fixed_run import FixedBatches, FixedImages, config, with_validation
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader, get_worker_info

from mmseg_uda.engine import build_runner
from mmseg_uda.engine.checkpoint import newest_first, step_of
from mmseg_uda.errors import MACHINE_STATUS, REQUEUE_STATUS
from mmseg_uda.files import read_json, write_text
from mmseg_uda.loader import kill_workers, watch

EVERY_STEP = {"default_hooks.checkpoint.interval": 1000, "default_hooks.job_files.interval": 1}


class InWorkers:
    """Leaves each worker's number in a folder; samples hang from the first that may not come."""

    def __init__(self, folder, hang_after=10**9):
        self.folder, self.left = Path(folder), hang_after

    def __getitem__(self, index):
        if get_worker_info() is not None:
            write_text(self.folder / f"worker_{get_worker_info().id}", str(os.getpid()))
            self.left -= 1
            while self.left < 0:
                time.sleep(60)
        return super().__getitem__(index)


class Watched(InWorkers, FixedBatches):
    pass


class WatchedImages(InWorkers, FixedImages):
    pass


@pytest.fixture(autouse=True)
def _registered():
    for dataset in (Watched, WatchedImages, LeftHalfFetched):
        DATASETS.register_module(module=dataset, force=True)
    yield
    for dataset in (Watched, WatchedImages, LeftHalfFetched):
        DATASETS.module_dict.pop(dataset.__name__)


def train(folder, steps=1000, timeout=3, hang_after=10**9, **changes):
    loader = dict(
        dataset=dict(type="Watched", folder=str(folder), hang_after=hang_after, _delete_=True),
        num_workers=2,
        persistent_workers=True,
        timeout=timeout,
    )
    cfg = config(folder / "run", steps, **{**EVERY_STEP, **changes})
    cfg.merge_from_dict(dict(train_dataloader=loader))
    build_runner(cfg).train()


def plain(folder, steps):
    """The same training without workers, whose batches come from another class."""
    runner = build_runner(config(folder, steps, **EVERY_STEP))
    runner.allow_changes = True
    runner.train()


def worker(folder, number=0):
    return int((folder / f"worker_{number}").read_text())


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def saved_step(folder):
    (saved,) = newest_first(folder / "run")
    return step_of(saved)


def assert_one_message(capfd, *words):
    output = capfd.readouterr()
    assert all(word in output.err for word in words), output.err
    assert output.err.count("Error: ") == 1
    for noise in ("Traceback", "RuntimeError", "Exception ignored"):
        assert noise not in output.err + output.out


def assert_goes_on(folder, step):
    """Bit for bit from where the state was saved."""
    plain(folder / "run", step + 2)
    plain(folder / "whole", step + 2)
    paths = (folder / part / f"iter_{step + 2}.pth" for part in ("run", "whole"))
    found, expected = (torch.load(path, weights_only=True)["state_dict"] for path in paths)
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


def test_a_killed_worker(tmp_path, capfd):
    process = start(train, tmp_path)
    wait_for(reached(tmp_path / "run", 3), process)
    os.kill(worker(tmp_path), signal.SIGKILL)
    assert end_of(process) == MACHINE_STATUS
    assert_one_message(capfd, f"process {worker(tmp_path)}", "SIGKILL", "memory", "--resume")
    assert is_gone(worker(tmp_path, 1))
    assert_goes_on(tmp_path, saved_step(tmp_path))


@pytest.mark.parametrize(
    "number, status, words",
    [
        (signal.SIGBUS, MACHINE_STATUS, ("/dev/shm", "num_workers")),
        (signal.SIGSEGV, 1, ("crashed",)),
    ],
)
def test_other_ends_of_a_worker(tmp_path, capfd, number, status, words):
    process = start(train, tmp_path)
    wait_for(reached(tmp_path / "run", 1), process)
    os.kill(worker(tmp_path, 1), number)
    assert end_of(process) == status
    assert_one_message(capfd, number.name, *words)
    assert saved_step(tmp_path) >= 1


class LeftHalfFetched(FixedBatches):
    """Whose workers' files are asked for by a program that ends before it has them."""

    def __getitem__(self, index):
        if get_worker_info() is not None:
            address, _ = DupFd(0)._id
            with socket.socket(socket.AF_UNIX) as program:
                program.connect(address)
        return super().__getitem__(index)


def test_a_batch_left_half_fetched_is_no_error(tmp_path, capfd):
    cfg = config(tmp_path, 4, **EVERY_STEP)
    loader = dict(dataset=dict(type="LeftHalfFetched", _delete_=True), num_workers=1)
    cfg.merge_from_dict(dict(train_dataloader=loader))
    assert end_of(start(lambda: build_runner(cfg).train())) == 0
    output = capfd.readouterr()
    assert "Traceback" not in output.err + output.out


@pytest.mark.parametrize("how", ["hangs", "is stopped"])
def test_a_worker_that_brings_no_batch(tmp_path, capfd, how):
    process = start(train, tmp_path, hang_after=8 if how == "hangs" else 10**9)
    wait_for(reached(tmp_path / "run", 2), process)
    if how == "is stopped":  # with batches of its own on their way
        os.kill(worker(tmp_path), signal.SIGSTOP)
    begin = time.monotonic()
    assert end_of(process, 60) == MACHINE_STATUS
    state = "sleeping" if how == "hangs" else "stopped"
    assert_one_message(capfd, "no batch for 3 seconds", f"{worker(tmp_path)} ({state})", "timeout")
    assert time.monotonic() - begin > 2
    assert is_gone(worker(tmp_path)) and is_gone(worker(tmp_path, 1))
    assert_goes_on(tmp_path, saved_step(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_signal_while_a_worker_hangs(tmp_path, number):
    process = start(train, tmp_path, timeout=0, hang_after=8)
    wait_for(reached(tmp_path / "run", 8), process)  # two samples a step, two workers
    time.sleep(1)
    os.kill(process.pid, number)
    assert end_of(process, 60) == REQUEUE_STATUS
    assert saved_step(tmp_path) == 8
    assert is_gone(worker(tmp_path)) and is_gone(worker(tmp_path, 1))


@pytest.mark.parametrize("end", ["timeout", "signal"])
def test_a_worker_that_hangs_in_a_validation(tmp_path, capfd, end):
    changes = with_validation(tmp_path, EVERY_STEP, every=4)
    changes["val_dataloader"].update(
        dataset=dict(type="WatchedImages", folder=str(tmp_path), hang_after=0),
        num_workers=1,
        timeout=3 if end == "timeout" else 600,
    )
    process = start(lambda: build_runner(config(tmp_path / "run", 6, **changes)).train())
    wait_for((tmp_path / "worker_0").exists, process)
    if end == "signal":
        os.kill(process.pid, signal.SIGTERM)
        assert end_of(process, 60) == REQUEUE_STATUS
    else:
        assert end_of(process, 60) == MACHINE_STATUS
        assert_one_message(capfd, "no batch for 3 seconds")
    assert saved_step(tmp_path) == 4
    assert is_gone(worker(tmp_path))


def test_a_suspended_training_has_not_waited(tmp_path):
    """As by Ctrl-Z, or a cluster that suspends jobs."""
    process = start(train, tmp_path, 1000, 2)
    wait_for(reached(tmp_path / "run", 1), process)
    members = [process.pid, worker(tmp_path), worker(tmp_path, 1)]
    for pid in members:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(4)
    for pid in members:
        os.kill(pid, signal.SIGCONT)
    step = (read_json(tmp_path / "run/progress.json"))["iter"]
    wait_for(reached(tmp_path / "run", step + 5), process)
    os.kill(process.pid, signal.SIGTERM)
    assert end_of(process) == REQUEUE_STATUS


def test_a_stopped_worker_does_not_outlive_the_training(tmp_path):
    process = start(train, tmp_path, 4, 600)
    wait_for(lambda: (tmp_path / "worker_0").exists(), process)
    wait_for(reached(tmp_path / "run", 2), process)
    os.kill(worker(tmp_path), signal.SIGSTOP)
    os.kill(process.pid, signal.SIGTERM)
    assert end_of(process, 60) in (REQUEUE_STATUS, 0)
    assert is_gone(worker(tmp_path))


def fork_and_kill_workers(folder, way):
    """As a training that forks while its workers live, and the fork ends out of turn."""
    images = Watched(folder)
    batches = iter(watch(DataLoader(images, batch_size=None, num_workers=1), 0.0))
    next(batches)
    if way == "multiprocessing":
        fork = multiprocessing.get_context("fork").Process(target=kill_workers)
        fork.start()
        fork.join()
        ended = fork.exitcode
    elif (pid := os.fork()) == 0:
        try:
            kill_workers()
        except BaseException:
            os._exit(1)
        os._exit(0)
    else:
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    next(batches)
    write_text(folder / "ended", str(ended))


@pytest.mark.parametrize("way", ["os", "multiprocessing"])
def test_a_forked_process_leaves_the_workers_to_its_parent(tmp_path, way):
    assert end_of(start(fork_and_kill_workers, tmp_path, way)) == 0
    assert (tmp_path / "ended").read_text() == "0"


@pytest.mark.parametrize("value", ["long", -1, True, float("nan")])
def test_a_timeout_that_is_none(tmp_path, value):
    from mmseg_uda.errors import UserError

    with pytest.raises(UserError, match="timeout="):
        train(tmp_path, 1, value)


def test_a_timeout_that_cannot_be_kept(tmp_path, capfd):
    changes = {"train_dataloader.timeout": 30, "log_level": "WARNING"}
    build_runner(config(tmp_path, 1, **changes)).train()
    output = capfd.readouterr()
    assert (output.out + output.err).count("timeout=30 has no effect with num_workers=0") == 1
