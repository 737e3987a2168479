"""Drill: several runners, and a training started by hand, on one work directory."""

import os
import signal
import sys
import time
from pathlib import Path

import photographs
import pytest
from child import Terminal, end_of, start, wait_for
from fixed_run import config

from experiments import EXPERIMENTS
from mmseg_uda.engine import build_runner
from mmseg_uda.errors import MACHINE_STATUS, UserError
from mmseg_uda.experiments import cli
from mmseg_uda.experiments.jobs import Action, JobFolder, State
from mmseg_uda.files import read_json
from mmseg_uda.locks import Lock, is_trained_in, training_in

FAKE_TRAIN = (sys.executable, str(Path(__file__).parents[1] / "experiments" / "fake_train.py"))
MINI = ("--exp", "90", "--profile", "mini", "--rows", "7", "8", "--gpus", "cpu")


@pytest.fixture(autouse=True)
def _no_data_needed(monkeypatch, tmp_path):
    monkeypatch.setattr(cli.preflight, "require", lambda *args, **kwargs: None)
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(tmp_path / "data"))


def run(work_dir, *arguments):
    line = [*MINI, "--work-dir", str(work_dir), *arguments]
    sys.exit(cli.main(EXPERIMENTS, line, train=FAKE_TRAIN, make_world=(sys.executable, "-c", "")))


def jobs(work_dir):
    return [path.parent for path in sorted(work_dir.glob("exp90-mini/*/status.json"))]


def calls(folder):
    return [line.split()[0] for line in (folder / "calls.txt").read_text().splitlines()]


def test_many_runners_at_once_train_every_job_once(tmp_path):
    # All of them wait for this moment: each job is claimed by several at the same time.
    at = time.monotonic() + 1.0

    def run_at():
        cli.check_fingerprints = lambda planned: time.sleep(max(0.0, at - time.monotonic()))
        run(tmp_path)

    runners = [start(run_at) for _ in range(4)]
    assert [end_of(runner) for runner in runners] == [0] * 4
    assert [calls(folder) for folder in jobs(tmp_path)] == [["start"]] * 2
    assert {JobFolder(folder).status().state for folder in jobs(tmp_path)} == {State.DONE}


def test_a_training_started_by_hand_is_left_alone(tmp_path, capfd):
    folder = tmp_path / "job"

    def train():
        options = {"default_hooks.job_files.interval": 1}
        build_runner(config(folder, 1000, **options)).train()

    by_hand = start(train)
    wait_for((folder / "progress.json").exists, by_hand)
    assert is_trained_in(folder)
    # A runner does not claim the folder,
    assert JobFolder(folder).claim("f") is Action.SKIP_LOCKED
    # and a second training by hand says why it does not start.
    steps = read_json(folder / "progress.json")["iter"]
    assert end_of(start(train)) == 2
    output = capfd.readouterr()
    assert f"Another process trains in {folder}" in output.err
    assert f"process {by_hand.pid} on" in output.err and "--work-dir" in output.err
    assert "Traceback" not in output.err
    wait_for(lambda: read_json(folder / "progress.json")["iter"] > steps, by_hand)  # undisturbed
    os.kill(by_hand.pid, signal.SIGKILL)
    end_of(by_hand)
    assert not is_trained_in(folder)
    assert JobFolder(folder).claim("f") is Action.START


@pytest.mark.parametrize("put", photographs.NO_FILES)
def test_what_has_the_name_of_a_lock(tmp_path, put):
    """To open a pipe would wait for ever."""
    put(tmp_path / "train.lock")
    for use in (is_trained_in, lambda folder: training_in(folder).__enter__()):
        with pytest.raises(UserError, match="train.lock .*"):
            use(tmp_path)
    put(tmp_path / "other.lock")
    with pytest.raises(UserError, match="other.lock .*"):
        Lock(tmp_path / "other.lock").acquire()


def test_ctrl_c_lets_the_trainings_save(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_HANG", "s0")
    monkeypatch.setenv("FAKE_SAVES", "1")
    runner = start(run, tmp_path, "--cpu-jobs", "2")
    wait_for(lambda: len(list(tmp_path.glob("exp90-mini/*/progress.json"))) == 2, runner)
    wait_for(lambda: len(jobs(tmp_path)) == 2, runner)
    os.kill(runner.pid, signal.SIGINT)
    assert end_of(runner) == 130
    for folder in jobs(tmp_path):
        status = JobFolder(folder).status()
        assert (status.state, status.exit_code) == (State.INTERRUPTED, 75)
        assert status.message == "by the user, state saved"
        assert (folder / "saved").exists()


def test_a_closed_terminal_lets_the_trainings_save(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_HANG", "s0")
    monkeypatch.setenv("FAKE_SAVES", "1")
    terminal = Terminal(run, tmp_path, "--cpu-jobs", "2")
    wait_for(lambda: len(list(tmp_path.glob("exp90-mini/*/progress.json"))) == 2)
    wait_for(lambda: len(jobs(tmp_path)) == 2)
    terminal.close()
    assert terminal.end() == 130
    for folder in jobs(tmp_path):
        assert JobFolder(folder).status().message == "by the user, state saved"


def test_under_nohup_a_closed_terminal_is_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_HANG", "s0")
    monkeypatch.setenv("FAKE_SAVES", "1")

    def run_detached():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        run(tmp_path, "--cpu-jobs", "2")

    runner = start(run_detached)
    wait_for(lambda: len(list(tmp_path.glob("exp90-mini/*/progress.json"))) == 2, runner)
    os.kill(runner.pid, signal.SIGHUP)
    runner.join(1.0)
    assert runner.is_alive()
    os.kill(runner.pid, signal.SIGTERM)
    assert end_of(runner) == 130


def test_a_training_that_lost_a_process_is_interrupted_and_resumes(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("FAKE_EXIT", str(MACHINE_STATUS))
    assert end_of(start(run, tmp_path)) == 1
    states = {JobFolder(folder).status().state for folder in jobs(tmp_path)}
    assert states == {State.INTERRUPTED}
    assert "a process of it was lost; the end of" in capfd.readouterr().out
    monkeypatch.delenv("FAKE_EXIT")
    assert end_of(start(run, tmp_path)) == 0
    assert [calls(folder) for folder in jobs(tmp_path)] == [["start", "resume"]] * 2


def test_a_second_ctrl_c_does_not_wait(tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_HANG", "s0")
    monkeypatch.setenv("FAKE_DEAF", "1")
    runner = start(run, tmp_path, "--cpu-jobs", "2")
    wait_for(lambda: len(list(tmp_path.glob("exp90-mini/*/progress.json"))) == 2, runner)
    wait_for(lambda: len(jobs(tmp_path)) == 2, runner)
    os.kill(runner.pid, signal.SIGINT)
    runner.join(1.0)
    assert runner.is_alive()
    os.kill(runner.pid, signal.SIGINT)
    assert end_of(runner) == 130
    codes = [JobFolder(folder).status().exit_code for folder in jobs(tmp_path)]
    assert codes == [-signal.SIGKILL] * 2


def test_a_training_that_saved_by_itself_is_interrupted_and_resumes(tmp_path, monkeypatch):
    """A scheduler's signal at the training alone."""
    monkeypatch.setenv("FAKE_EXIT", "75")
    assert end_of(start(run, tmp_path)) == 1
    states = {JobFolder(folder).status().state for folder in jobs(tmp_path)}
    assert states == {State.INTERRUPTED}
    monkeypatch.delenv("FAKE_EXIT")
    assert end_of(start(run, tmp_path)) == 0
    assert [calls(folder) for folder in jobs(tmp_path)] == [["start", "resume"]] * 2


def test_a_full_disk_at_the_status_file_is_one_message(tmp_path, capfd):
    def run_on_full_disk():
        import mmseg_uda.experiments.jobs as jobs_module

        def full(path, value):
            raise OSError(28, "No space left on device", str(path))

        jobs_module.write_json = full
        try:
            run(tmp_path)
        except OSError as error:  # which the tools around trainings would turn into a message, too
            raise AssertionError from error

    assert end_of(start(run_on_full_disk)) == 2
    output = capfd.readouterr()
    assert "No space left to write" in output.err and "status.json" in output.err
    assert "Traceback" not in output.err + output.out
