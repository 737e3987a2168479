"""How the step runs: waits, precision, recomputation, compilation, pictures."""

import pytest
import torch
from nano import random_batch
from operations import Operations
from PIL import Image
from staged import mask_config, sgd, srha

from mmseg_uda.benchmarks.step_timer import StepTimer
from mmseg_uda.engine.panels import ImagePanel, LabelPanel
from mmseg_uda.visualization.canvas import Classes
from mmseg_uda.visualization.panel_picture import panel_picture
from mmseg_uda.visualization.snapshot import Snapshot

OPTIONS = [{}, dict(teacher_inputs="independent", alpha=0.9, ignore_as_region=False)]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def losses(trainer, number=0, **options):
    log = trainer.train_step(random_batch(number), sgd(trainer, **options))
    return {name: value.item() for name, value in log.items() if "loss" in name}


@pytest.mark.parametrize("options", OPTIONS)
def test_the_host_reads_nothing_in_a_step(options):
    trainer = srha(**options)
    wrapper = sgd(trainer)
    trainer.train_step(random_batch(0), wrapper)
    batch = random_batch(1)
    with Operations() as operations:
        trainer.run_step(batch, wrapper)
    assert len(operations.sizes) > 500 and operations.waits == []


def to_device(batch):
    for part in batch.values():
        part["inputs"] = [image.cuda() for image in part["inputs"]]
        part["data_samples"] = [sample.cuda() for sample in part["data_samples"]]
    return batch


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("options", [*OPTIONS, dict(draws=True)])
def test_the_step_never_waits_for_the_device(options):
    draws = options.pop("draws", False)
    trainer = srha(**options).cuda()
    wrapper = sgd(trainer)
    trainer.train_step(random_batch(0), wrapper)
    batch = to_device(random_batch(1))
    trainer.draws = draws
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.run_step(batch, wrapper)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@needs_gpu
def test_a_gpu_takes_the_cpus_decisions():
    host = losses(srha())
    device = losses(srha().cuda())
    for name, value in host.items():
        assert device[name] == pytest.approx(value, rel=1e-2, abs=1e-6), name


def test_bfloat16():
    """The teacher runs in the student's precision: at the start they agree."""
    found = losses(srha(rearrangement=False), amp="bf16")
    assert [found[f"srha.loss_{k}"] for k in ("global", "regional", "local")] == [0, 0, 0]
    mixed, exact = losses(srha(), amp="bf16"), losses(srha())
    for name, value in exact.items():
        assert mixed[name] == pytest.approx(value, rel=0.2, abs=0.02), name


def test_a_teacher_in_bfloat16():
    trainer = srha(execution=dict(frozen_dtype="bf16"))
    assert trainer.teacher.network.layer1[0].conv1.weight.dtype == torch.bfloat16
    assert trainer.teacher.network.layer1[0].bn1.weight.dtype == torch.float32
    found, exact = losses(trainer), losses(srha())
    assert found["decode.loss_seg"] == exact["decode.loss_seg"]
    assert found["srha.loss_local"] == pytest.approx(exact["srha.loss_local"], rel=0.05)
    averaged = srha(execution=dict(frozen_dtype="bf16"), alpha=0.9)
    assert averaged.ema_backbone.layer1[0].conv1.weight.dtype == torch.float32


@pytest.mark.parametrize(
    "execution",
    [
        dict(recompute=("backbone", "decode_head")),
        dict(compile=dict(backend="eager")),
        dict(channels_last=True),
    ],
)
def test_other_ways_to_run_the_networks(execution):
    plain, other = srha(), srha(execution=execution)
    found, expected = losses(other), losses(plain)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    one, two = (dict(t.model.named_buffers()) for t in (plain, other))
    for name in (n for n in one if "running" in n):
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-6)


def test_accumulated_batches_have_draws_of_their_own():
    trainer = srha()
    wrapper = sgd(trainer, accumulative_counts=2)
    weights = []
    draw = trainer.draw_weights
    trainer.draw_weights = lambda present: weights.append(draw(present)) or weights[-1]
    for _ in range(2):
        trainer.train_step(random_batch(0), wrapper)
    assert trainer.step == 1 and not torch.equal(*weights)


@pytest.mark.parametrize("segmentor", [None, "masks"])
def test_pictures(segmentor):
    if segmentor:
        pytest.importorskip("transformers")
    plain, drawn = (srha(segmentor and mask_config()) for _ in range(2))
    drawn.draws = True
    expected = losses(plain)
    assert losses(drawn) == expected
    titles = [panel.title for panel in drawn.panels]
    assert titles == [
        "source image",
        "source label",
        "image, styles moved alike",
        "main donor of the style",
        "prediction",
        "prediction, re-styled copy",
        "distance at stage 4",
        "distance at stage 4, copy",
        "distance from the ImageNet network",
    ]
    assert plain.panels == []
    source, label, restyled, donor, *_ = drawn.panels
    assert isinstance(restyled, ImagePanel) and isinstance(donor, LabelPanel)
    assert not torch.equal(restyled.image, source.image)
    ids = torch.where(label.label == 255, 5, label.label)
    for image, classes in zip(ids, donor.label, strict=True):
        for k in image.unique():  # one donor per region, and one that the image has
            assert classes[image == k].unique().numel() == 1
        assert set(classes.unique().tolist()) <= set(image.unique().tolist())
    bars = drawn.panels[-1]
    assert list(bars.series) == ["global", "regional", "local"] and len(bars.names) == 4
    shown = Snapshot(drawn.panels, images=2, side=64).wait()
    picture = panel_picture(shown, Classes.of(None, 5), "step", images=2)
    assert isinstance(picture, Image.Image) and picture.width > 1000


def test_without_copies_and_alignment_there_is_less_to_see():
    trainer = srha(rearrangement=False, alignment_levels=())
    trainer.draws = True
    losses(trainer)
    assert [p.title for p in trainer.panels] == ["source image", "source label", "prediction"]


def test_phases_of_a_step_are_timed():
    trainer = srha()
    wrapper = sgd(trainer)
    timer = StepTimer(trainer, wrapper, torch.device("cpu"))
    with timer.step():
        trainer.train_step(random_batch(0), wrapper)
    assert {
        "rearrangement",
        "teacher forward",
        "student forward",
        "alignment",
        "consistency",
        "source loss",
        "source backward",
        "optimizer",
    } <= timer.seconds.keys()
