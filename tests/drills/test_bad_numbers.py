"""Drill: numbers that cannot be, on the command line and in a config; each is one message."""

import runpy
import sys

import pytest
from trained_nano import trained_config

from mmseg_uda.experiments import cli


@pytest.fixture
def tool(capsys, monkeypatch):
    """Runs a command in this process; returns its exit status and its error message."""

    def call(script, *options):
        monkeypatch.setattr(sys, "argv", [script, *map(str, options)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(script, run_name="__main__")
        return ended.value.code, capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    "option", ["train_dataloader.batch_size=0", "train_cfg.max_iters=-5", "log_level=LOUD"]
)
def test_a_training_does_not_start(world, tmp_path, tool, option):
    world.config(tmp_path / "run").dump(tmp_path / "job.py")
    run = tmp_path / "run"
    status, error = tool(
        "tools/train.py", tmp_path / "job.py", "--work-dir", run, "--cfg-options", option
    )
    key, _, value = option.partition("=")
    assert status == 2 and error.startswith(f"Error: {key}=") and value in error.split(" is no")[0]
    assert "Fix: Give " in error
    assert not run.exists()


def test_a_test_does_not_start(tmp_path, tool):
    trained_config("daformer", "nowhere").dump(tmp_path / "job.py")
    options = (tmp_path / "job.py", tmp_path / "weights.pth", "--work-dir", tmp_path / "run")
    option = "test_dataloader.batch_size=0"
    status, error = tool("tools/test.py", *options, "--cfg-options", option)
    assert status == 2 and error.startswith(f"Error: {option} is no number that can be used")


@pytest.mark.parametrize(
    "given, words", [(f"0-{'9' * 10_000}", "is too large"), ("-1", "is no number"), ("٣", "is no")]
)
def test_numbers_of_jobs(tmp_path, capsys, given, words):
    """Further ones are in the tests of the command."""
    trained_config("daformer", "nowhere").dump(tmp_path / "job.py")
    where = ["--config", str(tmp_path / "job.py"), "--work-dir", str(tmp_path / "runs")]
    assert cli.main([], [*where, f"--seeds={given}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: --seeds: ") and words in error and len(error) < 200
