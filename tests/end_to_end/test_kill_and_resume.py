"""kill -9 in the middle, the same command again: bit for bit the uninterrupted run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
ADAPT = {"uda.target_start": 1}


def csi(world):
    model = dict(type="OpenClip", checkpoint=str(world.clip))
    mapping = [
        dict(target="terrain", source="vegetation", box_score=1e-6, crop_score=None),
        dict(target="truck", source="car", box_score=1e-6, crop_score=None),
        dict(target="train", source=None, box_score=1e-6, crop_score=None),
    ]
    return {
        **ADAPT,
        # Killed at step 5: between the phases.
        "uda.relabel.collect": (1, 4),
        "uda.relabel.relabel": (7, 10),
        "uda.relabel.mapping": mapping,
        "uda.relabel.classifier": model,
        "uda.relabel.detector.classifier": model,
    }


@pytest.mark.slow
@pytest.mark.parametrize("label", ["DAFormer", "MIC", "DAFormer + CSI"])
def test_kill_and_resume(world, job, tmp_path, label):
    config = job(label, **(csi(world) if "CSI" in label else ADAPT))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = ["tools/train.py", config, "--resume", "--work-dir"]
    done = world.python(*command, whole)
    assert done.returncode == 0, done.stderr[-3000:]

    process = subprocess.Popen(
        [sys.executable, *map(str, command), str(killed)],
        cwd=ROOT,
        env=world.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while not (killed / "iter_5.pth").is_file():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "iter_10.pth").is_file()

    again = world.python(*command, killed)
    assert again.returncode == 0, again.stderr[-3000:]
    expected, found = (
        torch.load(folder / "iter_10.pth", weights_only=True)["state_dict"]
        for folder in (whole, killed)
    )
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    evaluations = [json.loads((f / "evaluations.json").read_text()) for f in (whole, killed)]
    assert evaluations[0] == evaluations[1] and [e["iter"] for e in evaluations[0]] == [10]
