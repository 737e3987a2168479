"""MinEnt: the entropy, its weights, and MIC on it."""

import copy
import math

import pytest
import torch
from fixed_run import config
from nano import nano_config, nano_hrda_config, optimizer, random_batch
from resuming import differences, whole_and_killed

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.methods.minent import EntropyMinimization, normalized_entropy

SIZE = (64, 64)


def build(hrda=False, **options):
    torch.manual_seed(0)
    segmentor = nano_hrda_config(5, SIZE) if hrda else nano_config(5, size=SIZE)
    trainer = EntropyMinimization(segmentor, seed=3, **options)
    trainer.init_weights()
    return trainer.train()


def test_a_uniform_prediction_has_entropy_1_and_a_certain_one_0():
    uniform = torch.full((2, 19, 4, 6), 1 / 19)
    assert float(normalized_entropy(uniform)) == pytest.approx(1, abs=1e-6)
    certain = torch.zeros(2, 19, 4, 6)
    certain[:, 3] = 1
    assert float(normalized_entropy(certain)) == 0
    half = torch.zeros(1, 19, 1, 2)
    half[:, :2] = 0.5
    assert float(normalized_entropy(half)) == pytest.approx(1 / math.log2(19))


@pytest.mark.parametrize("hrda", [False, True])
def test_the_loss_is_the_weighted_entropy_of_target_images(hrda):
    trainer = build(hrda, loss_weight=0.25)
    scalars = trainer.train_step(random_batch(0, size=SIZE), optimizer(trainer))
    # A network that knows nothing is almost uniform.
    assert float(scalars["target.loss_entropy"]) == pytest.approx(0.25, abs=0.02)
    assert "decode.loss_seg" in scalars and int(trainer.step) == 1


def test_the_entropy_falls():
    trainer = build(loss_weight=1.0)
    wrapper = optimizer(trainer, lr=5e-3)
    values = [
        float(trainer.train_step(random_batch(0, size=SIZE), wrapper)["target.loss_entropy"])
        for _ in range(12)
    ]
    assert values[-1] < values[0] - 0.05


def test_masked_losses_are_logged_beside_it():
    """The released code drops them."""
    trainer = build(masking=dict(type="MaskedConsistency", block_size=16))
    before = copy.deepcopy(trainer.components["masking"].ema_model.state_dict())
    wrapper = optimizer(trainer)
    for number in range(2):
        scalars = trainer.train_step(random_batch(number, size=SIZE), wrapper)
    assert {"masked.decode.loss_seg", "target.loss_entropy"} <= scalars.keys()
    after = trainer.components["masking"].ema_model.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_the_target_starts_when_it_is_told_to():
    trainer = build(target_start=1)
    wrapper = optimizer(trainer)
    logs = [trainer.train_step(random_batch(n, size=SIZE), wrapper) for n in range(2)]
    assert ["target.loss_entropy" in log for log in logs] == [False, True]


def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    masking = dict(type="MaskedConsistency", mode="separatetrgaug", block_size=16)
    uda = dict(_delete_=True, type="EntropyMinimization", masking=masking)
    whole, killed = whole_and_killed(lambda *a: config(*a, uda=copy.deepcopy(uda)), tmp_path)
    assert any(name.startswith("components.masking.") for name in whole["state_dict"])
    assert whole["optimizer"]["state"]
    assert differences(whole, killed) == []
