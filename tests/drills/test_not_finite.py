"""Drill: a loss or a gradient that is no number, at a step that is logged and one that is not."""

import math

import pytest
import torch
from child import end_of, start
from fixed_run import config

from mmseg_uda.engine import NonFiniteError, build_runner
from mmseg_uda.engine.checkpoint import newest_first, step_of
from mmseg_uda.self_training import COMPONENTS, Component

# The log is written every second step: after the steps 1 and 3, counted from 0.
LOGGED, SILENT = 3, 4
SAMPLES = {LOGGED: ("6_0.png", "7_0.png"), SILENT: ("0_0.png", "1_0.png")}


class Poison(Component):
    """Adds a term that is 0 but for one step."""

    def __init__(self, step, kind):
        super().__init__()
        self.step, self.kind = step, kind

    def target_losses(self, ctx, target, pseudo):
        some = next(ctx.host.model.parameters()).sum()
        zero = some - some.detach()  # with a gradient of 1
        if ctx.step != self.step:
            return {"loss_poison": 0.0 * zero}
        bad = {
            "loss is nan": 0.0 * zero + math.nan,
            "loss is inf": 0.0 * zero + math.inf,
            "gradient is inf": torch.sqrt(zero),
            "gradient is nan": torch.sqrt(0.0 * zero),
        }
        return {"loss_poison": bad[self.kind]}


@pytest.fixture(autouse=True)
def _registered():
    COMPONENTS.register_module(name="Poison", module=Poison, force=True)
    yield
    COMPONENTS.module_dict.pop("Poison")


def build(work_dir, steps, poison=None, **changes):
    every = {"default_hooks.checkpoint.interval": 1, "default_hooks.checkpoint.max_keep_ckpts": -1}
    cfg = config(work_dir, steps, **every, **changes)
    if poison:
        cfg.uda.poison = dict(type="Poison", **poison)
    return build_runner(cfg)


@pytest.mark.parametrize("step", [LOGGED, SILENT], ids=["logged step", "silent step"])
@pytest.mark.parametrize(
    "kind", ["loss is nan", "loss is inf", "gradient is nan", "gradient is inf"]
)
def test_the_run_stops_before_the_update(tmp_path, step, kind):
    runner = build(tmp_path, 8, poison=dict(step=step, kind=kind))
    with pytest.raises(NonFiniteError) as caught:
        runner.train()
    message = str(caught.value)
    term = "loss_poison" if "loss" in kind else "gradient norm"
    assert f"step {step}: {term}." in message
    assert all(name in message for name in SAMPLES[step])

    newest = newest_first(tmp_path)[0]
    assert step_of(newest) == step  # nothing of the bad step was saved
    saved = torch.load(newest, weights_only=True)["state_dict"]
    student = runner.model.model.named_parameters(prefix="model")
    assert [name for name, p in student if not torch.equal(p, saved[name])] == []
    taken = {int(state["step"]) for state in runner.optim_wrapper.optimizer.state.values()}
    assert taken == {step}

    (dump,) = tmp_path.glob("non_finite_step_*.pth")
    batch = torch.load(dump, weights_only=True)
    assert dump.name == f"non_finite_step_{step}.pth" and str(dump) in message
    for domain in ("source", "target"):
        assert tuple(batch[domain]["paths"]) == SAMPLES[step]
        assert batch[domain]["inputs"][0].shape == (3, 32, 32)
    assert batch["source"]["fields"][0]["gt_sem_seg"].shape == (1, 32, 32)


def test_the_tool_says_so_in_one_message_and_resumes_from_before(tmp_path, capfd):
    poison = dict(step=LOGGED, kind="loss is nan")
    assert end_of(start(lambda: build(tmp_path, 6, poison).train())) == 2
    output = capfd.readouterr()
    assert "Not finite at step 3: loss_poison" in output.err and "clip_grad" in output.err
    assert "Traceback" not in output.err + output.out
    runner = build(tmp_path, 6)
    runner.train()
    assert runner.iter == 6
