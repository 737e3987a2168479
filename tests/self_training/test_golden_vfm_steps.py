"""Four training steps of VFM-UDA against the published code's numbers."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import PARAM_SCHEDULERS
from mmseg.structures import SegDataSample
from pinned_random import PinnedRandom
from vfm import VFM, golden, golden_network, published_name, vfm_uda_network

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine import ReferenceNameConstructor
from mmseg_uda.self_training import SelfTraining

STEPS = json.loads((VFM / "steps.json").read_text())
RATE = 2e-3 * 2**0.5


class Masks(PinnedRandom):
    """The golden run's token masks."""

    uniform: np.ndarray

    def masked_tokens(self, batch_size, tokens, mask_ratio, device):
        assert self.uniform.shape == (batch_size, tokens)
        return torch.from_numpy(self.uniform) < mask_ratio


def enlarged(array, factor, flips):
    array = array.repeat(factor, -1).repeat(factor, -2)
    return np.stack([a[..., ::-1] if flip else a for a, flip in zip(array, flips, strict=True)])


def step_batch(data, step):
    t = step["step"]
    label = enlarged(data[f"label_{t}"], 16, step["flip_source"])
    valid = np.zeros((64, 64), np.uint8)
    valid[3:48, 2:62] = 1

    def domain(name, fields):
        images = enlarged(data[f"{name}_{t}"], 4, step[f"flip_{name}"])[:, ::-1]  # to BGR
        samples = []
        for i in range(len(images)):
            sample = SegDataSample()
            for key, values in fields.items():
                field = PixelData(data=torch.from_numpy(values[i][None].copy()))
                sample.set_data({key: field})
            samples.append(sample)
        return dict(inputs=list(torch.from_numpy(images.copy())), data_samples=samples)

    return {
        "source": domain("source", {"gt_sem_seg": label}),
        "target": domain("target", {"valid_mask": np.stack([valid, valid])}),
    }


@pytest.fixture(scope="module")
def run():
    data = golden("steps")
    trainer = SelfTraining(
        ConfigDict(vfm_uda_network()),
        pseudo_threshold=0.2,
        teacher_flip=True,
        source_average="labelled",
        augmentation=dict(style="torchvision", per_image=True),
        masking=dict(type="MaskedConsistency", unit="tokens", shared_draws=False),
    )
    weights = golden_network().state_dict()
    trainer.model.load_state_dict(weights)
    trainer.ema_model.load_state_dict(weights)
    trainer.random = Masks()
    optimizer = ReferenceNameConstructor(
        dict(
            type="StepOptimWrapper",
            optimizer=dict(type="AdamW", lr=RATE, betas=(0.9, 0.999), weight_decay=0.01),
        ),
        dict(layer_decay=dict(multiplier=0.1, decay=1.0)),
    )(trainer)
    schedule = PARAM_SCHEDULERS.build(
        dict(type="WarmupLinear", warmup=2, start=1e-3, total=10, optimizer=optimizer)
    )
    label_target, pseudo, logs = trainer.label_target, [], []
    trainer.label_target = lambda *args: pseudo.append(label_target(*args)) or pseudo[-1]
    for step in STEPS["steps"]:
        trainer.random.uniform = data[f"mask_uniform_{step['step']}"]
        rates = sorted({group["lr"] for group in optimizer.optimizer.param_groups})
        assert rates == pytest.approx([step["lr_encoder"], step["lr"]], rel=1e-6)
        log = trainer.train().train_step(step_batch(data, step), optimizer)
        logs.append({name: float(value) for name, value in log.items()})
        schedule.step()
    trainer.teacher.update(trainer.model, 4)  # which the host does at the start of the next step
    return data, trainer, logs, pseudo


@pytest.mark.parametrize("t", range(4))
def test_losses(run, t):
    _, _, logs, _ = run
    tolerance = 1e-4 if t == 0 else 2e-3
    for name, key in (
        ("decode.loss_seg", "loss_source"),
        ("mix.decode.loss_seg", "loss_mix"),
        ("masked.decode.loss_seg", "loss_masked"),
    ):
        assert logs[t][name] == pytest.approx(STEPS["steps"][t][key], rel=tolerance), key


@pytest.mark.parametrize("t", range(4))
def test_pseudo_labels(run, t):
    data, _, _, pseudo = run
    expected, found = STEPS["steps"][t], pseudo[t]
    assert found.share[0].item() == pytest.approx(expected["q"], rel=1e-3)
    assert found.label.flatten().bincount(minlength=19).tolist() == expected["pseudo_hist"]
    assert found.weight.sum().item() == pytest.approx(expected["weight_sum"], rel=1e-3)
    if t == 3:
        assert np.array_equal(found.label.numpy(), data["pseudo_label_3"])


@pytest.mark.parametrize("part", ["student", "teacher"])
def test_parameters_after_the_last_step(run, part):
    _, trainer, _, _ = run
    network = trainer.model if part == "student" else trainer.ema_model
    ours = {published_name(name): value for name, value in network.named_parameters()}
    expected = {k: v for k, v in STEPS[part].items() if not k.startswith("token_masking")}
    assert ours.keys() == expected.keys()
    for name, (total, squares) in expected.items():
        value = ours[name].double()
        assert value.pow(2).sum().item() == pytest.approx(squares, rel=1e-3), name
        assert value.sum().item() == pytest.approx(total, abs=5e-3), name
