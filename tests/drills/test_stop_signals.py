"""Drill: a scheduler or a user asks a training to end, at any time, by any usual signal."""

import os
import signal
import time

import pytest
import torch
from child import Terminal, end_of, free_port, reached, start, wait_for
from fixed_run import config, with_validation

from mmseg_uda.engine import build_runner
from mmseg_uda.engine.checkpoint import newest_first, step_of
from mmseg_uda.errors import REQUEUE_STATUS
from mmseg_uda.files import read_json

SLOW = {"default_hooks.checkpoint.interval": 1000, "default_hooks.job_files.interval": 1}


def train(work_dir, steps, **changes):
    """Returns the steps that were trained."""
    runner = build_runner(config(work_dir, steps, **changes))
    done, train_step = [], runner.model.train_step
    runner.model.train_step = lambda *a, **k: (done.append(runner.iter), train_step(*a, **k))[1]
    runner.train()
    return done


def state(path):
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP])
def test_the_step_is_finished_and_saved_and_nothing_is_lost(tmp_path, number):
    cut = tmp_path / "cut"
    process = start(train, cut, 1000, **SLOW)
    wait_for(reached(cut, 3), process)
    os.kill(process.pid, number)
    assert end_of(process) == REQUEUE_STATUS == 75
    (saved,) = newest_first(cut)
    step = step_of(saved)
    assert 3 <= step < 1000

    assert train(cut, step + 2, **SLOW) == [step, step + 1]
    train(tmp_path / "whole", step + 2, **SLOW)
    expected, found = (state(p / f"iter_{step + 2}.pth") for p in (tmp_path / "whole", cut))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_signal_to_the_whole_process_group_spares_the_loader(tmp_path):
    """As Slurm and terminals send it: a killed worker would fail the step being finished."""
    loader = {"train_dataloader.num_workers": 2, "train_dataloader.persistent_workers": True}
    process = start(train, tmp_path, 1000, **SLOW, **loader)
    wait_for(reached(tmp_path, 3), process)
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM):
        os.killpg(process.pid, number)
    assert end_of(process) == REQUEUE_STATUS
    assert len(newest_first(tmp_path)) == 1


def test_a_closed_terminal_saves(tmp_path):
    """Everything that the training prints afterwards fails."""
    changes = {**SLOW, "log_level": "INFO", "default_hooks.logger.interval": 1}
    terminal = Terminal(train, tmp_path, 1000, **changes)
    wait_for(reached(tmp_path, 3))
    terminal.close()
    assert terminal.end() == REQUEUE_STATUS
    assert len(newest_first(tmp_path)) == 1


def test_under_nohup_a_closed_terminal_is_nothing(tmp_path):
    def train_detached():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        train(tmp_path, 1000, **SLOW)

    process = start(train_detached)
    wait_for(reached(tmp_path, 3), process)
    os.kill(process.pid, signal.SIGHUP)
    step = read_json(tmp_path / "progress.json")["iter"]
    wait_for(reached(tmp_path, step + 3), process)
    os.kill(process.pid, signal.SIGTERM)
    assert end_of(process) == REQUEUE_STATUS


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    class Endless:
        def __init__(self, runner):
            self.runner = runner

        def __call__(self, *args, **kwargs):
            while True:
                (tmp_path / "in_the_step").touch()

    def hang():
        runner = build_runner(config(tmp_path, 4))
        runner.model.run_step = Endless(runner)
        runner.train()

    process = start(hang)
    wait_for((tmp_path / "in_the_step").exists, process)
    os.kill(process.pid, signal.SIGINT)
    process.join(0.5)
    assert process.is_alive()
    os.kill(process.pid, signal.SIGINT)
    assert end_of(process) == 130
    assert not newest_first(tmp_path)


def test_between_two_optimizer_steps_it_waits_for_the_next(tmp_path):
    accumulate = {"optim_wrapper.accumulative_counts": 4}

    def stop_early():
        runner = build_runner(config(tmp_path, 1000, **SLOW, **accumulate))
        train_step = runner.model.train_step
        calls = []

        def spy(*args, **kwargs):
            calls.append(1)
            if len(calls) == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            return train_step(*args, **kwargs)

        runner.model.train_step = spy
        runner.train()

    assert end_of(start(stop_early)) == REQUEUE_STATUS
    assert [step_of(path) for path in newest_first(tmp_path)] == [8]


def test_a_validation_is_cut_short_and_made_up_for(tmp_path):
    validation = with_validation(tmp_path, {"default_hooks.checkpoint.interval": 1000})

    def stop_in_validation():
        runner = build_runner(config(tmp_path / "run", 6, **validation))
        val_step = runner.model.val_step

        def spy(data):
            os.kill(os.getpid(), signal.SIGTERM)
            return val_step(data)

        runner.model.val_step = spy
        runner.train()

    assert end_of(start(stop_in_validation)) == REQUEUE_STATUS
    assert [step_of(path) for path in newest_first(tmp_path / "run")] == [4]
    assert read_json(tmp_path / "run" / "evaluations.json") == []
    train(tmp_path / "run", 6, **validation)
    assert [e["iter"] for e in read_json(tmp_path / "run" / "evaluations.json")] == [4, 6]


def test_all_processes_stop_after_the_same_step(tmp_path):
    def train_one_of_two(rank):
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
        runner = build_runner(config(tmp_path, 1000, **SLOW))
        if rank == 1:  # the one that gets no signal is ahead of the other
            train_step = runner.model.train_step
            runner.model.train_step = lambda *a, **k: (time.sleep(0.01), train_step(*a, **k))[1]
        else:  # the one that writes takes its time
            before_save = runner.model.before_save
            runner.model.before_save = lambda: (before_save(), time.sleep(1.0))[0]
        try:
            runner.train()
        finally:
            there = len(newest_first(tmp_path))
            (tmp_path / f"rank_{rank}").write_text(f"{runner.iter + 1} {there}")

    port = free_port()
    processes = [start(train_one_of_two, rank) for rank in range(2)]
    wait_for(reached(tmp_path, 3), processes[0])
    os.kill(processes[1].pid, signal.SIGUSR1)
    assert [end_of(process) for process in processes] == [REQUEUE_STATUS] * 2
    (saved,) = newest_first(tmp_path)
    # A launcher takes a process that ends before the others for failed, and ends them.
    ends = [(tmp_path / f"rank_{rank}").read_text() for rank in range(2)]
    assert ends == [f"{step_of(saved)} 1"] * 2
