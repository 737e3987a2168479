"""Measuring a training step."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fixed_run import config
from mmengine.config import Config

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.benchmarks.memory import PeakMemory
from mmseg_uda.benchmarks.simulation import count_waits
from mmseg_uda.benchmarks.step import ENCODERS, VARIANTS, apply_variant, measure, scale_config
from mmseg_uda.engine import wrap_model
from mmseg_uda.engine.execution import Execution
from mmseg_uda.errors import UserError

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "configs" / "_base_" / "execution"
HOSTS = ("daformer/gta2cs_daformer", "hrda/gtaHR2csHR_hrda", "mic/gtaHR2csHR_mic_hrda")


def test_phases_sum_up_to_the_step(tmp_path):
    cost = measure(config(tmp_path), batch_size=2, steps=3, warm_up=1, device="cpu")
    assert sum(cost.phases.values()) == pytest.approx(cost.seconds, rel=0.02)
    expected = {
        "teacher update",
        "teacher forward",
        "source forward",
        "source backward",
        "feature_distance",
        "mixing and augmentation",
        "mix forward",
        "mix backward",
        "masking backward",
        "optimizer",
    }
    assert expected <= cost.phases.keys()
    assert all(seconds > 0 for seconds in cost.phases.values())
    assert cost.first_seconds > 0 and cost.optimizer == "default"


def test_waits_of_a_step_are_counted_without_a_gpu(tmp_path):
    found = count_waits(config(tmp_path), batch_size=2)
    assert (found.count, found.budget, found.optimizer) == (0, 0, "fused")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
def test_peak_memory_of_a_stretch():
    memory = PeakMemory(torch.device("cpu"))
    big = torch.ones(100 * 2**20 // 4)
    assert 90 * 2**20 < memory.peak_bytes() < 200 * 2**20
    del big
    memory.restart()
    assert memory.peak_bytes() < 90 * 2**20


def test_variants_change_the_config(tmp_path):
    cfg = config(tmp_path)
    short = apply_variant(cfg, "bf16+recompute+channels-last+fused", PRESETS)
    assert short.execution == dict(amp="bf16", recompute=["backbone"], channels_last=True)
    assert short.optim_wrapper.optimizer.fused is True
    assert "execution" not in cfg and "fused" not in cfg.optim_wrapper.optimizer
    for name in VARIANTS:
        wrap_model(apply_variant(cfg, name, PRESETS))
    with pytest.raises(UserError, match="no 'bf17'[\\s\\S]*low-memory"):
        apply_variant(cfg, "compile+bf17", PRESETS)


def test_variants_of_what_an_encoder_trains(tmp_path):
    soma = Config.fromfile(ROOT / "configs/vfm/gta2cbm_soma_dinov2-l.py")
    soma.model.backbone.adapter.rank = 4
    found = {
        name: (backbone.trainable, backbone.adapter)
        for name in ENCODERS
        for backbone in [apply_variant(soma, f"bf16+{name}", PRESETS).model.backbone]
    }
    assert found == {
        "whole": ("all", None),
        "frozen": ("none", None),
        "lora": ("adapters", dict(type="lora")),
        "soma": ("adapters", dict(type="soma", rank=4)),
        "rein": ("adapters", dict(type="rein")),
    }
    with pytest.raises(UserError, match="'frozen' does not fit NanoBackbone"):
        apply_variant(config(tmp_path), "frozen", PRESETS)


@pytest.mark.parametrize("name", HOSTS)
def test_the_low_memory_preset_fits_every_host(name, tmp_path):
    """As a second base file, and as a variant of the benchmark."""
    preset = PRESETS / "low_memory.py"
    leaf = tmp_path / "leaf.py"
    leaf.write_text(f"_base_ = [{str(ROOT / 'configs' / name)!r} + '.py', {str(preset)!r}]\n")
    for cfg in (
        Config.fromfile(leaf),
        apply_variant(Config.fromfile(ROOT / "configs" / f"{name}.py"), "low-memory", PRESETS),
    ):
        wrapped = wrap_model(cfg)
        assert wrapped.optim_wrapper.amp == "bf16"
        assert wrapped.model.segmentor.test_cfg.batch_pixels == 4 * 512**2
        execution = Execution.read(wrapped.model.execution)
        assert execution.recompute == ("backbone", "decode_head")
        assert execution.frozen_type is torch.bfloat16


def test_scaling_leaves_out_weights_and_keeps_the_original():
    cfg = Config.fromfile(ROOT / "configs/mic/gtaHR2csHR_mic_hrda.py")
    small = scale_config(cfg, (128, 128), "b0")
    assert "init_cfg" not in small.model.backbone and "init_cfg" in cfg.model.backbone
    assert small.model.hr_crop_size == (64, 64) and small.model.data_preprocessor.size == (128, 128)
    assert small.model.decode_head.in_channels == [32, 64, 160, 256]
    cfg.model.backbone.type = "ResNetV1c"
    with pytest.raises(UserError, match="--encoder b0 does not fit ResNetV1c"):
        scale_config(cfg, None, "b0")


def run_tool(*arguments):
    command = [sys.executable, "tools/benchmark.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_tool_compares_ways_to_run_a_config(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    cfg = config(folder)
    cfg.custom_imports = dict(imports=["mmseg_uda.register_all"], allow_failed_imports=False)
    path, numbers = tmp_path / "nano.py", tmp_path / "numbers.json"
    cfg.dump(path)
    done = run_tool(
        path, "--variants", "fp32", "low-memory", "--steps", 1, "--warm-up", 1, "--device", "cpu",
        "--threads", 1, "--json", numbers,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    full, short = json.loads(numbers.read_text())
    assert (full["variant"], short["variant"]) == ("fp32", "low-memory")
    for result in (full, short):
        assert result["steps_per_second"] == pytest.approx(1 / result["seconds_per_step"])
        assert result["peak_mib"] > 0
    for words in ("mix backward", "steps per second", "peak memory", "low-memory"):
        assert words in done.stdout


def test_what_is_left_out_is_said(tmp_path):
    done = run_tool("configs/daformer/gta2cs_daformer.py", "--minutes", 0)
    assert done.returncode == 1
    assert "gta2cs_daformer: left out: the time is over" in done.stdout
