"""What every registered component promises: it steps, resumes, accumulates, waits for nothing."""

import copy
import inspect
import re
from dataclasses import fields

import pytest
import torch
from every_part import (
    ROLES,
    WAITING,
    batch,
    build,
    documented_options,
    options_of,
    prepare,
    train,
    train_together,
)
from nano import optimizer
from operations import HostNumbers, Operations
from processes import together
from resuming import same, whole_and_resumed

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine.options import NoOptions, Options
from mmseg_uda.errors import UserError
from mmseg_uda.self_training import COMPONENTS
from mmseg_uda.self_training.registry import build_components

KINDS = sorted(ROLES)
EVERY = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    prepare(folder)
    return folder


def test_no_component_escapes():
    ours = {n for n, c in COMPONENTS.module_dict.items() if c.__module__.startswith("mmseg_uda.")}
    assert ours == set(KINDS)


@EVERY
def test_every_option_is_documented_under_its_field(kind):
    options = COMPONENTS.get(kind).Options
    assert options is not NoOptions and issubclass(options, Options)
    assert documented_options(options) == {field.name for field in fields(options)}
    assert list(inspect.signature(COMPONENTS.get(kind)).parameters) == list(options.names())


@EVERY
def test_an_unknown_option_is_answered_with_the_nearest(kind, folder):
    role, known = ROLES[kind], COMPONENTS.get(kind).Options.names()[-1]
    config = {**options_of(kind, folder), f"{known}s": 1}
    with pytest.raises(UserError, match=f"uda.{role}.{known}s is no option") as error:
        build_components({role: config})
    assert f"Did you mean uda.{role}.{known}?" in error.value.fix


@EVERY
@pytest.mark.parametrize("hrda", [False, True])
def test_it_steps_and_resumes_bit_for_bit(kind, hrda, folder):
    whole, resumed, logs, _ = whole_and_resumed(lambda: build(folder, kind, hrda), train, optimizer)
    assert all(torch.isfinite(torch.as_tensor(v)) for log in logs for v in log.values())
    assert same(whole.state_dict(), resumed.state_dict())


@pytest.mark.parametrize("kind", sorted(set(KINDS) - WAITING))
def test_the_host_reads_nothing_of_a_step(kind, folder):
    trainer = build(folder, kind)
    _, wrapper = train(trainer, 3)
    trainer.random = HostNumbers()
    data = batch(3)
    with Operations() as operations:
        trainer.run_step(data, wrapper)
    assert operations.waits == []


@pytest.mark.parametrize("kind", sorted(WAITING))
def test_one_wait_is_declared(kind):
    assert re.search(r"[Ww]aits\s+for the\s+device once", COMPONENTS.get(kind).__doc__)


@EVERY
def test_gradients_of_several_batches_make_one_step(kind, folder):
    trainer = build(folder, kind)
    wrapper = optimizer(trainer, accumulative_counts=2)
    before = copy.deepcopy(dict(trainer.model.named_parameters()))
    train(trainer, 1, wrapper)
    assert int(trainer.step) == 0
    assert all(torch.equal(p, before[n]) for n, p in trainer.model.named_parameters())
    train(trainer, 1, wrapper, start=1)
    assert int(trainer.step) == 1
    assert not all(torch.equal(p, before[n]) for n, p in trainer.model.named_parameters())


@EVERY
def test_switched_off_equals_absent(kind, folder):
    absent, off = build(folder), build(folder, kind, switched_off=True)
    train(absent, 2), train(off, 2)
    assert same(absent.state_dict(), off.state_dict())


def test_in_two_processes_all_of_them_keep_the_same_state(folder):
    first, second = together(train_together, folder, KINDS, 3)
    for kind in KINDS:
        assert first[kind].keys() == second[kind].keys()
        different = [k for k in first[kind] if not torch.equal(first[kind][k], second[kind][k])]
        assert different == [], kind
