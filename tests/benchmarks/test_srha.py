"""The comparison of bins with loops over regions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fixed_run import config
from staged import staged_config

from mmseg_uda.benchmarks.srha import loop_rearrange, loop_regional, main
from mmseg_uda.benchmarks.step import measure
from mmseg_uda.methods.srha import dirichlet_weights, find_regions, rearrange, regional_distance

ROOT = Path(__file__).parents[2]


def test_both_ways_agree():
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 4, (2, 24, 28), generator=generator)
    h = torch.randn(2, 3, 12, 14, generator=generator)
    regions = find_regions(label, (12, 14), 6)
    weights = dirichlet_weights(regions.present, 0.5, generator)
    styled = loop_rearrange(h, label, weights)
    torch.testing.assert_close(rearrange(h, regions, weights), styled, rtol=1e-4, atol=1e-5)
    student = torch.randn(4, 3, 12, 14, generator=generator)
    expected = loop_regional(student, h, label)
    assert regional_distance(student, h, regions).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_command(tmp_path):
    command = [sys.executable, "tools/benchmark.py", "srha", "--threads", "1", "--device", "cpu"]
    command += ["--batch-size", "2", "--side", "32", "--scale", "0.02", "--repeats", "1"]
    command += ["--json", str(tmp_path / "r.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "loop over regions" in done.stdout and "32 x 32, 12 regions" in done.stdout
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["largest_difference"] < 1e-4 and found["gradient_difference"] < 1e-4
    assert found["bins"] > 0 and found["loops"] > 0


def test_a_step_is_measured_by_its_phases(tmp_path):
    cfg = config(tmp_path, 2)
    cfg.model, cfg.uda = staged_config(), dict(type="SRHA")
    cost = measure(cfg, batch_size=2, steps=1, warm_up=1, device="cpu")
    assert {"rearrangement", "teacher forward", "alignment", "consistency"} <= cost.phases.keys()
    assert sum(cost.phases.values()) == pytest.approx(cost.seconds, rel=0.2)


def test_more_regions_than_classes_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--regions", "20"])
    assert "--regions 20 exceeds --classes 19" in capsys.readouterr().err
