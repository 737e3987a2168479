"""Gradient accumulation: several batches make one step."""

import copy

import pytest
import torch
from nano import nano_config, optimizer, random_batch

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.self_training import SelfTraining, StepRandom


@pytest.fixture
def trainer():
    torch.manual_seed(0)
    masking = dict(type="MaskedConsistency", mode="separatetrg", block_size=8, alpha=0.5)
    trainer = SelfTraining(nano_config(), masking=masking)
    trainer.init_weights()
    return trainer.train()


def test_teachers_follow_once_per_step(trainer):
    wrapper = optimizer(trainer, accumulative_counts=2)
    own = trainer.components["masking"].ema_model
    for number in range(6):
        before = [copy.deepcopy(list(t.parameters())) for t in (trainer.ema_model, own)]
        trainer.train_step(random_batch(number), wrapper)
        for old, teacher in zip(before, (trainer.ema_model, own), strict=True):
            same = all(torch.equal(a, b) for a, b in zip(old, teacher.parameters(), strict=True))
            assert same == (number % 2 == 1 or number == 0)  # at step 0 it is a copy
    assert int(trainer.step) == 3


def test_each_batch_draws_its_own_numbers():
    random = StepRandom(5)

    def draw(*step):
        random.begin_step(*step)
        return random.class_ranks(1, 9, torch.device("cpu")).tolist(), torch.rand(3).tolist()

    assert draw(3) == draw(3, 0)
    assert all(a != b for a, b in zip(draw(3), draw(3, 1), strict=True))
    assert all(a != b for a, b in zip(draw(4), draw(3, 1), strict=True))


def test_dropout_of_the_batches_differs(trainer):
    wrapper = optimizer(trainer, accumulative_counts=2)
    seen = []
    original = trainer.components.late_losses
    trainer.components.late_losses = lambda *a: (
        *original(*a),
        lambda: seen.append(torch.rand(8)) or {},
    )
    for number in range(4):
        trainer.train_step(random_batch(number), wrapper)
    assert len({tuple(draws.tolist()) for draws in seen}) == 4


def test_the_step_is_that_of_the_mean_gradient(trainer):
    """With one network state, two half-weighted batches add up to their mean."""
    gradients = []
    for parts in ((0,), (1,), (0, 1)):
        twin = copy.deepcopy(trainer)
        wrapper = optimizer(twin, accumulative_counts=len(parts))
        found = []
        wrapper.optimizer.register_step_pre_hook(
            lambda *_, found=found, twin=twin: found.append(
                torch.cat([p.grad.flatten() for p in twin.model.parameters()])
            )
        )
        for number in parts:
            twin._part = number  # the numbers that the part draws
            twin.train_step(random_batch(number), wrapper)
        gradients += found
    first, second, both = gradients
    mean = (first + second) / 2
    assert ((both - mean).norm() / mean.norm()).item() < 1e-5
