"""What every registered trainer promises: it builds, steps, resumes, accumulates, runs together."""

import inspect

import pytest
import torch
from every_part import documented_options
from every_trainer import TRAINERS, build, optimizer, registered, train, train_together
from mmseg.registry import MODELS
from processes import together
from resuming import same, whole_and_resumed

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine.options import check_options
from mmseg_uda.errors import UserError

KINDS = registered()
EVERY = pytest.mark.parametrize("kind", KINDS)


def parameters(trainer):
    return {name: value.detach().clone() for name, value in trainer.model.named_parameters()}


def test_no_trainer_escapes():
    assert set(KINDS) == set(TRAINERS)


@EVERY
def test_every_option_is_documented_and_in_the_signature(kind):
    options = MODELS.get(kind).Options
    own = options.names()
    assert documented_options(options) == set(own)
    assert {*own, "seed", "execution"} <= inspect.signature(MODELS.get(kind)).parameters.keys()


# Where a trainer takes components, any further key is a component's role.
@pytest.mark.parametrize("kind", [k for k in KINDS if not MODELS.get(k).takes_components])
def test_an_unknown_option_is_answered_with_the_nearest(kind):
    with pytest.raises(UserError, match=r"uda\.max_itres is no option") as error:
        check_options(MODELS.get(kind), dict(type=kind, max_itres=3), "uda")
    assert "Did you mean uda.max_iters?" in error.value.fix


@EVERY
def test_it_steps_and_resumes_bit_for_bit(kind):
    whole, resumed, logs, _ = whole_and_resumed(lambda: build(kind), train, optimizer)
    assert all(torch.isfinite(torch.as_tensor(v)) for log in logs for v in log.values())
    assert int(whole.step) == 5
    assert same(whole.state_dict(), resumed.state_dict())


@EVERY
def test_a_step_is_a_function_of_the_seed(kind):
    states = [build(kind, seed) for seed in (1, 1, 2)]
    for trainer in states:
        train(trainer, 2)
    first, again, other = (trainer.state_dict() for trainer in states)
    assert same(first, again) and not same(first, other)


@EVERY
def test_gradients_of_several_batches_make_one_step(kind):
    trainer = build(kind)
    wrapper, before, steps = optimizer(trainer, accumulative_counts=2), parameters(trainer), []
    for number in range(4):
        train(trainer, 1, wrapper, start=number)
        steps.append(int(trainer.step))
        assert same(parameters(trainer), before) == (number == 0)
    assert steps == [0, 1, 1, 2]


@EVERY
def test_a_panel_is_drawn_when_asked_for_and_changes_nothing(kind):
    plain, drawn = build(kind), build(kind)
    drawn.draws = True
    train(plain, 1), train(drawn, 1)
    assert drawn.panels and plain.panels == []
    assert same(plain.state_dict(), drawn.state_dict())


def test_in_two_processes_all_of_them_keep_the_same_state():
    first, second = together(train_together, KINDS, 3)
    for kind in KINDS:
        assert first[kind].keys() == second[kind].keys()
        different = [k for k in first[kind] if not torch.equal(first[kind][k], second[kind][k])]
        assert different == [], kind
