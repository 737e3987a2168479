"""Drill: a loss, gradient, weight or statistic that is no number, at logged and at silent steps."""

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


class StatePoison(Component):
    """Makes one number of the trainer's state a bad one, at one step; has a state of its own."""

    def __init__(self, step, name, value):
        super().__init__()
        self.step, self.name, self.value = step, name, value
        self.register_buffer("memory", torch.zeros(2, 3))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
        self.register_buffer("mask", torch.zeros(2, 2).masked_fill(torch.eye(2) > 0, -torch.inf))

    def target_losses(self, ctx, target, pseudo):
        if ctx.step == self.step:
            spoil(ctx.host, self.name, self.value)
        return {}


def spoil(trainer, name, value):
    tensors = dict([*trainer.named_parameters(), *trainer.named_buffers()])
    with torch.no_grad():
        tensors[name].view(-1)[1] = value


@pytest.fixture(autouse=True)
def _registered():
    for component in (Poison, StatePoison):
        COMPONENTS.register_module(module=component, force=True)
    yield
    for component in (Poison, StatePoison):
        COMPONENTS.module_dict.pop(component.__name__)


def build(work_dir, steps, poison=None, **changes):
    every = {"default_hooks.checkpoint.interval": 1, "default_hooks.checkpoint.max_keep_ckpts": -1}
    cfg = config(work_dir, steps, **every, **changes)
    if poison:
        cfg.uda.poison = {"type": "Poison", **poison}
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
    runner.allow_changes = True  # without the poison
    runner.train()
    assert runner.iter == 6


NORM = "decode_head.fuse_layer.bn"
STATES = {
    "teacher's weight": ("ema_model.decode_head.conv_seg.weight", math.nan),
    "teacher's statistics": (f"ema_model.{NORM}.running_var", math.inf),
    "student's statistics": (f"model.{NORM}.running_mean", math.nan),
    "masking's teacher": ("components.masking.ema_model.backbone.stem.bn.weight", -math.inf),
    "component's buffer": ("components.poison.memory", math.inf),
    "passing buffer": ("components.poison.scratch", math.nan),
}


@pytest.mark.parametrize("what", STATES)
def test_a_bad_state_stops_the_run_like_a_bad_loss(tmp_path, what):
    name, value = STATES[what]
    poison = dict(type="StatePoison", step=SILENT, name=name, value=value)
    own_teacher = {"uda.masking.alpha": 0.5}
    changes = own_teacher if "masking" in name else {}
    runner = build(tmp_path, 8, poison, **changes)
    with pytest.raises(NonFiniteError) as caught:
        runner.train()
    message = str(caught.value)
    assert f"step {SILENT}: {name}" in message
    assert all(sample in message for sample in SAMPLES[SILENT])
    newest = newest_first(tmp_path)[0]
    assert step_of(newest) == SILENT
    saved = torch.load(newest, weights_only=True)["state_dict"]
    student = runner.model.model.named_parameters(prefix="model")
    assert [name for name, p in student if not torch.equal(p, saved[name])] == []
    assert all(value.isfinite().all() for n, value in saved.items() if not n.endswith(".mask"))


def test_a_mask_of_minus_infinity_is_no_bad_state(tmp_path):
    poison = dict(type="StatePoison", step=-1, name="", value=0.0)
    runner = build(tmp_path, 3, poison)
    runner.train()
    assert runner.iter == 3
    assert build(tmp_path, 4, poison).train() is not None  # and it is loaded again


def test_a_bad_weight_is_named_beside_the_loss_that_it_spoils(tmp_path):
    runner = build(tmp_path, 8)
    train_step = runner.model.train_step

    def spoiled(*args, **kwargs):
        if runner.iter == SILENT:
            spoil(runner.model, "model.decode_head.conv_seg.bias", math.nan)
        return train_step(*args, **kwargs)

    runner.model.train_step = spoiled
    with pytest.raises(NonFiniteError, match=r"decode\.loss_seg.*, model\.decode_head\.conv"):
        runner.train()


@pytest.mark.parametrize("what", ["student", "optimizer", "teacher's statistics"])
def test_nothing_that_is_not_finite_is_saved(tmp_path, what):
    """What went wrong after the step was judged."""
    runner = build(tmp_path, 8)
    name, value = STATES.get(what, ("model.decode_head.conv_seg.weight", math.inf))
    train_step = runner.model.train_step

    def spoiled_afterwards(*args, **kwargs):
        log = train_step(*args, **kwargs)
        if runner.iter == SILENT:
            if what == "optimizer":
                weight = runner.model.model.decode_head.conv_seg.weight
                runner.optim_wrapper.optimizer.state[weight]["exp_avg"][0] = math.nan
            else:
                spoil(runner.model, name, value)
        return log

    runner.model.train_step = spoiled_afterwards
    named = f"optimizer.{name}.exp_avg" if what == "optimizer" else name
    with pytest.raises(NonFiniteError, match=f"after step {SILENT + 1}: {named}"):
        runner.train()
    assert step_of(newest_first(tmp_path)[0]) == SILENT
    assert not list(tmp_path.glob("*.partial"))


def spoil_file(path, name, value):
    content = torch.load(path, weights_only=True)
    content["state_dict"][name].view(-1)[1] = value
    torch.save(content, path)


def test_a_run_resumes_from_the_checkpoint_before(tmp_path, capfd):
    """Of a version that saved what it had."""
    build(tmp_path, 4).train()
    newest, before, *_ = newest_first(tmp_path)
    spoil_file(newest, f"ema_model.{NORM}.running_var", math.nan)
    runner = build(tmp_path, 5, log_level="WARNING")
    resumed = []
    original = runner.resume
    runner.resume = lambda path, *a, **k: (resumed.append(path), original(path, *a, **k))
    runner.train()
    assert resumed == [str(before)]
    output = capfd.readouterr()
    (line,) = [part for part in (output.out + output.err).splitlines() if "NaN" in part]
    assert "WARNING" in line and str(newest) in line and f"ema_model.{NORM}.running_var" in line
