"""The comparison of the CRF loss with the unfolded formulation."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmseg_uda.benchmarks.ssda import unfolded_loss
from mmseg_uda.methods.ssda import truncated_crf_loss

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("radius", [1, 5])
def test_both_formulations_agree(radius):
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(2, 4, 9, 7, generator=generator).softmax(1).requires_grad_()
    image = torch.rand(2, 3, 9, 7, generator=generator) * 0.3
    seeds = (torch.rand(2, 9, 7, generator=generator) > 0.5).float()
    unfolded = unfolded_loss(p, image, seeds, 1 - seeds, radius)
    slices = truncated_crf_loss(p, {"rgb": image}, seeds, 1 - seeds, radius=radius)
    assert slices.item() == pytest.approx(unfolded.item(), rel=1e-6)
    found, expected = (torch.autograd.grad(loss, p)[0] for loss in (slices, unfolded))
    assert torch.allclose(found, expected, atol=1e-7)


def test_the_command(tmp_path):
    command = [sys.executable, "tools/benchmark.py", "ssda", "--threads", "1", "--device", "cpu"]
    command += ["--shape", "1", "5", "48", "48", "--repeats", "1", "--json", str(tmp_path / "r")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "unfolded windows" in done.stdout and "1 x 5 x 48 x 48" in done.stdout
    found = json.loads((tmp_path / "r").read_text())
    assert found["slices"]["loss"] == pytest.approx(found["unfold"]["loss"], rel=1e-5)
    assert found["gradient_difference"] < 1e-5
    # 1 x 5 x 121 x 48 x 48 floats for the windows of the probabilities alone
    assert found["unfold"]["peak_mib"] > 5 and found["unfold"]["seconds"] > 0
