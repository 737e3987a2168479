"""What the step hands over, on a network with two scales and with MIC's variants."""

import pytest
import torch
from nano import nano_hrda_config, optimizer, random_batch

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.self_training import SelfTraining
from mmseg_uda.visualization import Snapshot

SIZE = (64, 64)


def step(draws=True, device="cpu", **masking):
    """Panels by title of one step, and the trainer."""
    torch.manual_seed(0)
    trainer = SelfTraining(
        nano_hrda_config(), masking=dict(type="MaskedConsistency", block_size=8, **masking)
    )
    trainer.init_weights()
    trainer = trainer.to(device).train()
    trainer.draws = draws
    trainer.train_step(random_batch(0, size=SIZE), optimizer(trainer))
    return {panel.title: panel for panel in trainer.panels}, trainer


def test_nothing_is_collected_unless_asked():
    panels, _ = step(draws=False)
    assert panels == {}


def test_the_detail_crop_and_its_weight():
    panels, _ = step()
    boxes = panels["mixed image"].boxes
    assert boxes.corners.shape == (2, 5)
    assert boxes.corners[:, 0].tolist() == [0, 1]
    image, x0, y0, x1, y1 = boxes.corners[0].tolist()
    assert (x1 - x0, y1 - y0) == (32, 32)
    weight = panels["weight of the detail"].values
    assert weight.shape == (2, 16, 16)
    assert ((weight >= 0) & (weight <= 1)).all()
    outside = torch.ones(16, 16, dtype=torch.bool)
    outside[max(y0 // 4 - 1, 0) : y1 // 4 + 1, max(x0 // 4 - 1, 0) : x1 // 4 + 1] = False
    assert outside.any()
    assert (weight[:, outside] == 0).all()
    assert (weight[:, y0 // 4 + 1 : y1 // 4 - 1, x0 // 4 + 1 : x1 // 4 - 1] > 0).all()


def test_images_are_shown_in_their_own_colors():
    panels, trainer = step()
    raw = random_batch(0, size=SIZE)["source"]["inputs"][0]
    shown = Snapshot([panels["source image"]], 1, 640).wait()[0].image[0]
    # The data come as BGR bytes.
    assert (shown.int() - raw[[2, 1, 0]].int()).abs().max() <= 1
    masked = Snapshot([panels["masked image"]], 1, 640).wait()[0].image[0]
    mean = trainer.model.data_preprocessor.mean.view(3).round().int()
    assert (masked.int() == mean.view(3, 1, 1)).all(dim=0).any()  # a blank patch


@pytest.mark.parametrize(
    "masking, extra",
    [
        (dict(mode="separatetrg"), set()),
        (dict(mode="separate"), {"masked label", "masked weight"}),
        (dict(mode="separatesrc"), set()),
        (dict(mode="separatetrg", alpha=0.9), {"masked label", "masked weight"}),
    ],
)
def test_masked_labels_are_shown_when_no_other_panel_has_them(masking, extra):
    panels, _ = step(**masking)
    assert {"masked label", "masked weight"} & set(panels) == extra


def test_titles_tell_panels_apart():
    _, trainer = step(mode="separate")
    titles = [panel.title for panel in trainer.panels]
    assert len(titles) == len(set(titles))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_neither_step_nor_snapshot_waits_for_the_device():
    _, trainer = step(device="cuda", mode="separate")
    batch = random_batch(1, size=SIZE)
    for part in batch.values():
        part["inputs"] = [image.cuda() for image in part["inputs"]]
        part["data_samples"] = [sample.cuda() for sample in part["data_samples"]]
    wrapper = optimizer(trainer)
    Snapshot(trainer.panels, 2, 32).wait()  # first-call set-up may wait
    torch.cuda.synchronize()
    trainer.panels = []
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.run_step(batch, wrapper)
        snapshot = Snapshot(trainer.panels, 2, 32)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    shown = {panel.title: panel for panel in snapshot.wait()}
    assert shown["mixed image"].image.device.type == "cpu"
    assert shown["mixed image"].image.float().std() > 0
