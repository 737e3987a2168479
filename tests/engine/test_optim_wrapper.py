"""Precision, kernels and clipping of the optimizer step."""

import copy

import pytest
import torch
from nano import nano_config, optimizer, random_batch

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine import ReferenceNameConstructor, Supervised
from mmseg_uda.errors import UserError

KERNELS = [dict(foreach=False), dict(foreach=True), dict(fused=True)]
OPTIMIZERS = [dict(type="AdamW", weight_decay=0.01), dict(type="SGD", momentum=0.9)]


def build():
    torch.manual_seed(0)
    trainer = Supervised(nano_config())
    trainer.init_weights()
    return trainer.train()


def wrapper_of(trainer, kind, **options):
    wrapper = {k: options.pop(k) for k in ("amp", "clip_grad") if k in options}
    return ReferenceNameConstructor(dict(optimizer=dict(lr=1e-3, **kind, **options), **wrapper))(
        trainer
    )


def train(trainer, wrapper, steps, start=0):
    for step in range(start, start + steps):
        log = trainer.train_step(random_batch(step), wrapper)
    return log


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind["type"])
def test_all_kernels_give_the_same_weights(kind):
    results = []
    for kernels in KERNELS:
        trainer = build()
        train(trainer, wrapper_of(trainer, kind, **kernels), 5)
        results.append(weights(trainer))
    moved = (results[0] - weights(build())).norm()
    assert moved > 0.01
    for other in results[1:]:
        assert (other - results[0]).norm() < 1e-3 * moved


@pytest.mark.parametrize("before, after", [(KERNELS[0], KERNELS[2]), (KERNELS[2], KERNELS[0])])
def test_a_run_may_continue_with_other_kernels(before, after):
    whole = build()
    train(whole, wrapper_of(whole, OPTIMIZERS[0], **before), 4)

    first = build()
    wrapper = wrapper_of(first, OPTIMIZERS[0], **before)
    train(first, wrapper, 2)
    second = build()
    second.load_state_dict(first.state_dict())
    resumed = wrapper_of(second, OPTIMIZERS[0], **after)
    resumed.load_state_dict(copy.deepcopy(wrapper.state_dict()))
    assert {group["fused"] for group in resumed.optimizer.param_groups} == {after.get("fused")}
    train(second, resumed, 2, start=2)
    moved = (weights(whole) - weights(build())).norm()
    assert (weights(whole) - weights(second)).norm() < 1e-3 * moved


@pytest.mark.parametrize("kernels", KERNELS)
def test_a_step_that_is_not_finite_changes_nothing(kernels):
    trainer = build()
    wrapper = wrapper_of(trainer, OPTIMIZERS[0], **kernels)
    train(trainer, wrapper, 1)
    before = weights(trainer)
    trainer.run_step(random_batch(1), wrapper)
    wrapper.update(torch.tensor(1.0))
    assert torch.equal(weights(trainer), before)
    trainer.run_step(random_batch(1), wrapper)
    wrapper.update(torch.tensor(0.0))
    assert not torch.equal(weights(trainer), before)


def test_parameters_gradients_and_moments_stay_float32_under_bf16():
    trainer = build()
    wrapper = wrapper_of(trainer, OPTIMIZERS[0], amp="bf16")
    train(trainer, wrapper, 1)
    trainer.run_step(random_batch(1), wrapper)
    parameters = list(trainer.model.parameters())
    assert {p.dtype for p in parameters} == {p.grad.dtype for p in parameters} == {torch.float32}
    moments = [s[k] for s in wrapper.optimizer.state.values() for k in ("exp_avg", "exp_avg_sq")]
    assert len(moments) == 2 * len(parameters)
    assert {m.dtype for m in moments} == {torch.float32}


def test_fp16_on_a_cpu_is_refused():
    with pytest.raises(UserError, match="fp16 needs a GPU[\\s\\S]*bf16"):
        wrapper_of(build(), OPTIMIZERS[0], amp="fp16")


def test_clipping_limits_the_gradient_and_logs_its_norm_without_waiting(monkeypatch):
    trainer = build()
    wrapper = wrapper_of(trainer, dict(type="SGD"), clip_grad=dict(max_norm=0.01))
    before = weights(trainer)
    waits = []
    original = torch.Tensor.__float__
    monkeypatch.setattr(torch.Tensor, "__float__", lambda self: waits.append(1) or original(self))
    log = train(trainer, wrapper, 1)
    monkeypatch.undo()
    assert waits == []
    assert isinstance(log["grad_norm"], torch.Tensor) and log["grad_norm"] > 0.1
    moved = (weights(trainer) - before).norm()
    assert moved == pytest.approx(1e-3 * 0.01, rel=1e-2)


def test_without_clipping_no_norm_is_logged():
    trainer = build()
    assert "grad_norm" not in train(trainer, optimizer(trainer), 1)
