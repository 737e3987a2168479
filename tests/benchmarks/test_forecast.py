"""Forecasts against a hand count, and against what torch's allocator hands out."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fixed_run import config
from mmengine.config import Config
from nano import nano_config, nano_hrda_config
from process_tasks import relabelling
from staged import staged_config
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function
from vfm import vfm_uda_network

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda import costs
from mmseg_uda.benchmarks.forecast import GIB, GPUS, countable, forecast, largest_batch
from mmseg_uda.benchmarks.forecast_report import report
from mmseg_uda.benchmarks.meter import Operation, StepMeter
from mmseg_uda.benchmarks.step import TrainingStep, apply_variant, measure
from mmseg_uda.models import convolutions
from mmseg_uda.models.backbones import MiT

SIZE = (128, 128)
DISTANCE = dict(type="FeatureDistance", classes=[1, 2], min_ratio=0.5)
MASKING = dict(type="MaskedConsistency", mode="separatetrg", block_size=16)


def mit_b0_flops(side):
    """Two per multiplication: convolutions, linear layers and attention of MiT-B0, by hand."""
    total, before = 0, 3
    for stage, width in enumerate((32, 64, 160, 256)):
        kernel, reduction = (7, 3, 3, 3)[stage], (8, 4, 2, 1)[stage]
        side = side // (4 if stage == 0 else 2)
        tokens = side * side
        context = tokens // reduction**2
        total += tokens * width * before * kernel**2
        block = tokens * width * width  # queries
        if reduction > 1:
            block += context * width * width * reduction**2
        block += context * width * 2 * width  # keys and values
        block += 2 * tokens * context * width  # scores, and values by scores
        block += tokens * width * width  # output
        block += 2 * tokens * width * 4 * width + tokens * 4 * width * 9  # Mix-FFN
        total += 2 * block
        before = width
    return 2 * total


def test_operations_of_mit_b0_are_those_of_a_hand_count():
    encoder = MiT("b0")
    with StepMeter() as meter:
        meter.adopt(encoder)
        maps = encoder(meter.fake(torch.zeros(1, 3, 256, 256)))
        forward = meter.flops
        sum(x.sum() for x in maps).backward()
    assert forward == pytest.approx(mit_b0_flops(256), rel=0.01)
    # every product has two gradients, except that of the image; attention computes scores again
    assert 1.9 * forward < meter.flops - forward < 2.2 * forward


def test_a_depthwise_convolution_counts_its_own_products():
    layer = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
    with StepMeter() as meter:
        meter.adopt(layer)
        layer(meter.fake(torch.zeros(1, 8, 10, 10)).requires_grad_()).sum().backward()
    assert meter.flops == 3 * 2 * 100 * 8 * 9


def case(name, tmp_path):
    cfg = config(tmp_path)
    cfg.model = nano_hrda_config(size=SIZE) if name in ("hrda", "mic") else nano_config(size=SIZE)
    # alike in every step: augmentation decides the peak of networks this small
    always = dict(jitter_probability=1.0, blur_probability=1.0)
    cfg.uda = dict(type="SelfTraining", feature_distance=DISTANCE, **always)
    if name == "mic":
        cfg.uda.masking = MASKING
    if name == "csi":
        cfg.model.decode_head.num_classes = 19
        cfg.uda.update(taxonomy="cityscapes19", relabel=relabelling())
    if name == "srha":
        cfg.model = staged_config(size=SIZE)
        cfg.uda = dict(type="SRHA")
    if name in ("whole", "frozen", "soma", "rein"):
        cfg.model = vfm_uda_network(48, 3, 3, 5)
        cfg.model["data_preprocessor"]["size"] = SIZE
        cfg.uda = dict(type="SelfTraining", **always)
        cfg = apply_variant(cfg, name, Path())
    if cfg.model.get("hr_crop_size"):
        cfg.model.hr_crop_size = (64, 64)
    return cfg


def allocated(cfg, batch_size):
    """The most bytes that torch's allocator has handed out in the second step."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step = TrainingStep(cfg)
        trainer, wrapper = step.on("cpu")
        batch = step.batch(batch_size)
        trainer.train_step(batch, wrapper)
        with record_function("second"):
            trainer.train_step(batch, wrapper)
    events = profiler.profiler.kineto_results.events()
    (second,) = (event for event in events if event.name() == "second")
    live = peak = 0
    memory = (event for event in events if event.name() == "[memory]")
    for event in sorted(memory, key=lambda event: event.start_ns()):
        live += event.nbytes()
        if event.start_ns() >= second.start_ns():
            peak = max(peak, live)
    return peak


HOSTS = ["daformer", "hrda", "mic", "csi", "srha"]


@pytest.mark.parametrize("name", [*HOSTS, "soma", "rein"])
def test_the_peak_is_what_the_allocator_hands_out(name, tmp_path):
    cfg = case(name, tmp_path)
    found = forecast(cfg, batch_size=2)
    assert found.peak == pytest.approx(allocated(cfg, 2), rel=0.15)
    assert sum(found.kinds.values()) == found.peak
    assert found.peak == max(found.phase_peaks.values())


def test_what_a_cpu_convolves_in_parts_a_gpu_convolves_at_once(tmp_path, monkeypatch):
    """The forecast is one for a GPU, although its tensors are on the CPU."""
    cfg = case("hrda", tmp_path)
    found = forecast(cfg, batch_size=2)
    monkeypatch.setattr(convolutions, "LARGEST", 1)
    assert forecast(cfg, batch_size=2).operations == found.operations


@pytest.mark.parametrize("name", ["daformer", "whole", "frozen", "soma", "rein"])
def test_a_checkpoint_is_as_large_as_its_file(name, tmp_path):
    cfg = case(name, tmp_path)
    found, cost = forecast(cfg, 1), measure(cfg, 1, steps=1, warm_up=1, device="cpu")
    assert found.trained == cost.trained
    assert found.checkpoint == pytest.approx(cost.checkpoint_bytes, rel=0.001)
    step = TrainingStep(cfg)
    trainer, wrapper = step.on("cpu")
    trainer.train_step(step.batch(1), wrapper)
    path = tmp_path / "iter_1.pth"
    torch.save({"state_dict": trainer.state_dict(), "optimizer": wrapper.state_dict()}, path)
    # names and the archive's alignment, which weigh in a network as small as this
    assert cost.checkpoint_bytes < path.stat().st_size < 1.3 * cost.checkpoint_bytes


def test_what_is_said_of_a_training(tmp_path):
    cfg = case("daformer", tmp_path)
    text = "\n".join(report(cfg, [1, 2], 2, lambda cfg, name: cfg, ["low-memory"]))
    for words in ("M parameters", "1 images:", "2 images:", "in 24 GiB", "With low-memory"):
        assert words in text
    assert "source backward" in text and "GPU hours" in text


def test_the_largest_batch_follows_the_slope():
    assert largest_batch({1: 3 * GIB, 2: 5 * GIB}, 11) == 4
    assert largest_batch({1: 30 * GIB, 2: 50 * GIB}, 11) == 0


def test_half_precision_is_faster_where_products_decide(tmp_path):
    cfg = case("daformer", tmp_path)
    cfg.execution = dict(amp="bf16")
    half, full = forecast(cfg, 2), forecast(case("daformer", tmp_path), 2)
    assert half.half and half.kinds["activations"] < full.kinds["activations"]
    product = dict(convolves=False, moved=2**20)
    gpu, costs = GPUS["RTX 3090"], [half, full]
    slow, fast = (replace(c, operations=[Operation(10**12, **product)]) for c in reversed(costs))
    assert slow.seconds(gpu, 1.0) == pytest.approx(1 / 35.6)
    assert fast.seconds(gpu, 0.5) == pytest.approx(2 / 71)


def test_what_cannot_be_counted_is_told(tmp_path):
    cfg, left_out = countable(case("csi", tmp_path))
    assert cfg.uda.relabel is None and left_out == ["vision-language models"]


def test_stored_forecasts_are_those_of_published_rows(monkeypatch):
    import experiments

    rows = {
        row.label: row.resolved for e in experiments.EXPERIMENTS if e.id == 90 for row in e.rows
    }
    lines = costs.cost_lines(list(rows.items()))
    assert [line.startswith("Forecast for") for line in lines] == [True, True, True, False]
    assert "DAFormer, DAFormer + CSI" in lines[0] and "without vision-language models" in lines[0]
    changed = Config(rows["MIC"])
    changed.train_dataloader.batch_size = 7
    assert costs.cost_lines([("mine", changed.to_dict())]) == []
    assert costs.kind({"model": "?", "train_dataloader": None}) is None
    assert json.loads(costs.FILE.read_text()).keys() >= {costs.kind(rows["MIC"])}
