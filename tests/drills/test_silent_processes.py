"""Drill: processes of one training of which one is stopped, or waits for its data for ever."""

import os
import signal
import time

import pytest
import torch
from child import end_of, free_port, reached, start, wait_for
from fixed_run import FixedBatches, config
from mmseg.registry import DATASETS

from mmseg_uda.engine import build_runner, interruption, stop_watch
from mmseg_uda.engine.checkpoint import newest_first
from mmseg_uda.errors import MACHINE_STATUS
from mmseg_uda.files import write_text

SLOW = {"default_hooks.checkpoint.interval": 1000, "default_hooks.job_files.interval": 1}


class HangsInOne(FixedBatches):
    """Gives the second process no sample from the eighth on."""

    def __init__(self):
        self.left = 8

    def __getitem__(self, index):
        self.left -= 1
        while os.environ["RANK"] == "1" and self.left < 0:
            time.sleep(60)
        return super().__getitem__(index)


@pytest.fixture
def processes(tmp_path):
    """Starts two processes that train together."""
    started = []
    port = free_port()
    DATASETS.register_module(module=HangsInOne, force=True)

    def train(rank, changes):
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank))
        os.environ.update(GLOO_SOCKET_IFNAME="lo")
        torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
        write_text(tmp_path / f"rank_{rank}", str(os.getpid()))
        build_runner(config(tmp_path / "run", 1000, **SLOW, **changes)).train()

    def begin(**changes):
        started.extend(start(train, rank, changes) for rank in range(2))
        wait_for(reached(tmp_path / "run", 3), started[0])
        return started

    yield begin
    DATASETS.module_dict.pop("HangsInOne")
    for process in started:
        process.kill()
        process.join()


def test_a_stopped_process_is_told_in_time(processes, capfd):
    alive, stopped = processes(**{"env_cfg.dist_cfg.step_timeout": 3})
    os.kill(stopped.pid, signal.SIGSTOP)
    begin = time.monotonic()
    assert end_of(alive, 60) == MACHINE_STATUS
    assert time.monotonic() - begin > 2
    output = capfd.readouterr()
    assert output.err.count("Another process of this run has not answered for 3 seconds") == 1
    assert "step_timeout" in output.err and "Traceback" not in output.err


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGHUP], [signal.SIGINT] * 2])
def test_a_stop_signal_is_obeyed_meanwhile(processes, tmp_path, capfd, monkeypatch, numbers):
    # A second Ctrl-C does not wait that long.
    monkeypatch.setattr(stop_watch, "GRACE_SECONDS", 3.0 if len(numbers) == 1 else 1000.0)
    alive, stopped = processes()
    os.kill(stopped.pid, signal.SIGSTOP)
    time.sleep(2)
    for number in numbers:
        os.kill(alive.pid, number)
        time.sleep(0.2)
    assert end_of(alive, 60) == 128 + numbers[0]
    output = capfd.readouterr()
    assert output.err.count("Error: ") == 1
    assert f"{numbers[0].name} came while another process" in output.err
    assert "Traceback" not in output.err
    assert newest_first(tmp_path / "run") == []


@pytest.mark.parametrize("end", ["timeout", "signal"])
def test_a_hanging_worker_of_one_process(processes, tmp_path, capfd, monkeypatch, end):
    monkeypatch.setattr(interruption, "GRACE_SECONDS", 3.0)
    loader = dict(
        dataset=dict(type="HangsInOne"), num_workers=1, timeout=0 if end == "signal" else 3
    )
    healthy, hanging = processes(**{f"train_dataloader.{k}": v for k, v in loader.items()})
    if end == "signal":
        time.sleep(2)
        os.kill(hanging.pid, signal.SIGTERM)
    assert end_of(hanging, 60) == (MACHINE_STATUS if end == "timeout" else 128 + signal.SIGTERM)
    assert end_of(healthy, 60) == 1
    output = capfd.readouterr()
    text = "no batch for 3 seconds" if end == "timeout" else "SIGTERM came while"
    assert output.err.count("Error: ") == output.err.count(text) == 1
    assert output.err.count("Another process of this run has ended; its message says why.") == 1
    assert "Traceback" not in output.err + output.out


def test_a_process_that_is_slow_is_waited_for(processes, tmp_path, monkeypatch):
    """Its part of the step takes longer than the grace, and both save."""
    monkeypatch.setattr(stop_watch, "GRACE_SECONDS", 6.0)
    first, slow = processes()
    os.kill(slow.pid, signal.SIGSTOP)
    time.sleep(1)
    os.kill(first.pid, signal.SIGTERM)
    time.sleep(2)
    os.kill(slow.pid, signal.SIGCONT)
    assert [end_of(first, 60), end_of(slow, 60)] == [75, 75]
    assert len(newest_first(tmp_path / "run")) == 1
