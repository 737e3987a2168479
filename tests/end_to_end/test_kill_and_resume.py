"""kill -9 in the middle, the same command again: bit for bit the uninterrupted run."""

import json
import os
import re
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


# Matches in most steps, thresholds that fall before and after the kill.
CDDA = {
    **ADAPT,
    "experiment": 301,
    "uda.pseudo_threshold": 0.06,  # some pixels of an untrained network are confident
    "uda.depth.build.count": 12,
    "uda.depth.reweight_threshold": 0.02,
    "uda.depth.relabel_threshold": 0.01,
    "uda.depth.threshold_decay": 0.001,
    "uda.depth.decay_begin": 2,
    "uda.depth.decay_end": 9,
    "uda.depth.decay_interval": 1,
}

# Seeds and CRF from the second step on, quotas counted in the source, dropout masks drawn.
SSDA = {
    **ADAPT,
    "experiment": 411,
    "uda.pseudo_threshold": 0.06,
    "uda.subdomains.class_prior": "source_stats",
    "uda.subdomains.uncertainty.source": "mc_dropout",
    "uda.subdomains.uncertainty.dropout": 0.2,
    "model.backbone.strides": (2, 2, 1, 1),  # 1/8, as DeepLabV2's encoder
    "model.decode_head.in_index": 3,
    "model.decode_head.in_channels": 96,
}


@pytest.mark.slow
@pytest.mark.parametrize("label", ["DAFormer", "MIC", "DAFormer + CSI", "MIC + CDDA", "SSDA"])
def test_kill_and_resume(world, job, tmp_path, label):
    options = {"CSI": csi(world), "CDDA": CDDA, "SSDA": SSDA}.get(label.split(" + ")[-1], ADAPT)
    config = job(label, **options)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = ["tools/train.py", config, "--resume", "--work-dir"]
    done = world.python(*command, whole)
    assert done.returncode == 0, done.stderr[-3000:]
    assert warnings_in(done) == []
    if "CDDA" in label:
        assert_matched(world, whole)

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
    assert warnings_in(again) == []
    expected, found = (
        torch.load(folder / "iter_10.pth", weights_only=True)["state_dict"]
        for folder in (whole, killed)
    )
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    evaluations = [json.loads((f / "evaluations.json").read_text()) for f in (whole, killed)]
    assert evaluations[0] == evaluations[1] and [e["iter"] for e in evaluations[0]] == [10]


def warnings_in(run):
    """Whatever a user might take for one; these runs do nothing unusual."""
    lines = (run.stdout + run.stderr).splitlines()
    found = [line for line in lines if re.search(r"\bwarn|deprecated", line, re.IGNORECASE)]
    return [line for line in found if "Build settings" not in line]  # of torch, CXX_FLAGS


def assert_matched(world, folder):
    """The bank was built on first use, and all three uses of a match took place."""
    bank = world.root / "miniworld/gta/depth_bank_full"
    assert len(list((bank / "images").iterdir())) == 12
    (scalars,) = folder.glob("*/vis_data/scalars.json")
    steps = [json.loads(line) for line in scalars.read_text().splitlines()]
    steps = [step for step in steps if "cdda.match_rate" in step]
    assert sum(step["cdda.match_rate"] for step in steps) > 0
    assert any(step["target.loss_guidance"] > 0 for step in steps)
    assert len({step["cdda.reweight_threshold"] for step in steps}) > 5
