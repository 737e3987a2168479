"""Drill: a file that runs code when it is unpickled, in every place where weights are read."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from fixed_run import config

from mmseg_uda.engine import build_runner
from mmseg_uda.engine.checkpoint import newest_first
from mmseg_uda.errors import UserError


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def train(work_dir, steps=4, **changes):
    runner = build_runner(config(work_dir, steps, **changes))
    runner.train()
    return runner


@pytest.fixture
def sprung(tmp_path):
    return tmp_path / "the_trap_has_sprung"


@pytest.mark.parametrize("form", ["bare pickle", "torch.save"])
def test_the_newest_checkpoint_of_a_run_is_a_trap(tmp_path, sprung, form):
    run = tmp_path / "run"
    train(run)
    newest, before = newest_first(run)
    if form == "torch.save":
        torch.save(dict(state_dict={}, trap=Trap(sprung)), newest)
    else:
        newest.write_bytes(pickle.dumps(Trap(sprung)))
    runner = build_runner(config(run, 6))
    resumed = []
    original = runner.resume
    runner.resume = lambda path, *a, **k: (resumed.append(Path(path)), original(path, *a, **k))
    runner.train()
    assert resumed == [before]
    assert not sprung.exists()


def test_all_checkpoints_of_a_run_are_traps(tmp_path, sprung):
    run = tmp_path / "run"
    run.mkdir()
    torch.save(dict(state_dict={}, trap=Trap(sprung)), run / "iter_2.pth")
    with pytest.raises(UserError, match="No checkpoint in .* can be read"):
        train(run)
    assert not sprung.exists()


def test_load_from_is_a_trap(tmp_path, sprung):
    path = tmp_path / "weights.pth"
    torch.save(dict(state_dict={}, trap=Trap(sprung)), path)
    with pytest.raises(UserError, match=r"weights.pth is a pickle that is not weights.*mkdir"):
        train(tmp_path / "run", load_from=str(path), resume=False)
    assert not sprung.exists()


def test_pretrained_weights_are_a_trap(tmp_path, sprung):
    path = tmp_path / "backbone.pth"
    torch.save(dict(state_dict={}, trap=Trap(sprung)), path)
    init = {"model.backbone.init_cfg": dict(type="BackboneWeights", checkpoint=str(path))}
    with pytest.raises(UserError, match=r"backbone.pth is a pickle that is not weights.*mkdir"):
        train(tmp_path / "run", **init)
    assert not sprung.exists()


def test_the_trap_works(sprung):
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()
