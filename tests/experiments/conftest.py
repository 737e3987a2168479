"""Runs the command with a stand-in for the training."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from mmseg_uda.experiments import cli
from mmseg_uda.miniworld.prepare import recipe
from mmseg_uda.miniworld.shipped import unpack

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FAKE_TRAIN = (sys.executable, str(HERE / "fake_train.py"))
NO_WORLD = (sys.executable, "-c", "")


@pytest.fixture(scope="session")
def tables():
    """The tables of experiments.py at the top of the repository."""
    spec = importlib.util.spec_from_file_location("experiments_tables", ROOT / "experiments.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EXPERIMENTS


@pytest.fixture
def tiny_vit(tmp_path, monkeypatch):
    """The weights of the mini profile's transformer, where jobs look for them."""
    folder = tmp_path / "pretrained"
    (folder / "miniworld").mkdir(parents=True)
    target = folder / "miniworld/tiny_vit.pth"
    assert unpack("tiny_vit", recipe("tiny_vit"), target)
    monkeypatch.setenv("MMSEG_UDA_PRETRAINED_ROOT", str(folder))
    return target


@pytest.fixture
def command(tables, tmp_path, monkeypatch, capsys):
    """Calls run_experiments.py in this process; returns (status, what it printed)."""
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    # Restored afterwards: --data-root sets it for the trainings.
    monkeypatch.setenv("MMSEG_UDA_DATA_ROOT", str(tmp_path / "no_data"))

    def call(*arguments: str) -> tuple[int, str]:
        status = cli.main(
            tables,
            ["--work-dir", str(tmp_path), *arguments],
            train=FAKE_TRAIN,
            make_world=NO_WORLD,
        )
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    return call


@pytest.fixture
def run(command, monkeypatch):
    """The same on a machine that has all data and weights."""
    monkeypatch.setattr(cli.preflight, "require", lambda *args, **kwargs: None)
    return command


@pytest.fixture
def environment():
    """Variables of a subprocess that imports from this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}
