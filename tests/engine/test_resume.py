"""The optimizer of a resumed training: memory of the checkpoint, rates of the config."""

import copy

import pytest
import torch
from mmengine.optim import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingMomentum,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    PolyLR,
    ReduceOnPlateauLR,
)
from torch import nn

from mmseg_uda.engine import StepOptimWrapper
from mmseg_uda.engine.resume import GROUPS, parameter_groups, restore_optimizer
from mmseg_uda.errors import UserError

STEP = 5
ITER = dict(by_epoch=False)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self):
        return self.head(self.body(torch.ones(1, 3))).square().sum()


class Training:
    """A network, its optimizer and its schedule, without a runner."""

    def __init__(self, schedule, kind=torch.optim.AdamW, head_lr=10.0, groups=None, **options):
        self.net = Net()
        options = {"lr": 1e-3, **options}
        parts = groups or [
            dict(params=list(self.net.body.parameters())),
            dict(params=list(self.net.head.parameters()), lr=options["lr"] * head_lr),
        ]
        if callable(parts):
            parts = parts(self.net)
        self.wrapper = StepOptimWrapper(optimizer=kind(parts, **options))
        self.schedulers = [build(self.wrapper) for build in schedule]

    def run(self, steps):
        for _ in range(steps):
            self.wrapper.backward(self.net())
            self.wrapper.update()
            for scheduler in self.schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
        return self

    def state(self):
        return dict(
            meta={"iter": STEP, GROUPS: parameter_groups(self.net, self.wrapper)},
            optimizer=copy.deepcopy(self.wrapper.state_dict()),
            param_schedulers=[copy.deepcopy(s.state_dict()) for s in self.schedulers],
        )

    def resume(self, state):
        restore_optimizer(self.net, self.wrapper, self.schedulers, state)
        return self

    def settings(self):
        return [
            {k: v for k, v in group.items() if k != "params"} for group in self.wrapper.param_groups
        ]

    def memory(self):
        return self.wrapper.optimizer.state_dict()["state"]


def poly(end):
    return [lambda w: PolyLR(w, power=1.0, begin=0, end=end, **ITER)]


def warm_poly(end, warm=3):
    warm_up = [lambda w: LinearLR(w, start_factor=1e-6, begin=0, end=warm, **ITER)]
    return [*warm_up, *poly(end)]


def one_cycle(total):
    return [lambda w: OneCycleLR(w, eta_max=0.01, total_steps=total, **ITER)]


def with_momentum(total):
    return [*poly(total), lambda w: CosineAnnealingMomentum(w, T_max=total, **ITER)]


SCHEDULES = {
    "prolonged": (poly(6), poly(12)),
    "shortened": (poly(20), poly(9)),
    "warm-up and decay, prolonged": (warm_poly(6), warm_poly(12)),
    "a longer warm-up": (warm_poly(12, 3), warm_poly(12, 8)),
    "another kind": (poly(9), [lambda w: CosineAnnealingLR(w, T_max=9, **ITER)]),
    "steps that are over": (poly(9), [lambda w: MultiStepLR(w, milestones=[2, 4], **ITER)]),
    "one schedule more": (poly(9), [*poly(9), lambda w: ConstantLR(w, factor=0.5, end=7, **ITER)]),
    "none any more": (poly(9), []),
    "for the first time": ([], poly(9)),
    "one cycle": (one_cycle(8), one_cycle(16)),
    "momentum": (with_momentum(8), with_momentum(16)),
    "as it was": (warm_poly(9), warm_poly(9)),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_new_schedule_as_if_it_had_been_there_from_the_beginning(name):
    then, now = SCHEDULES[name]
    state = Training(then).run(STEP).state()
    whole, resumed = Training(now).run(STEP), Training(now).resume(state)
    for _ in range(3):
        ours, theirs = resumed.settings(), whole.settings()
        if not now:  # what a schedule leaves in the groups is of no effect without one
            for group in ours:
                group.pop("initial_lr")
        assert ours == theirs
        whole.run(1), resumed.run(1)


def test_an_unchanged_run_goes_on_bit_for_bit():
    whole = Training(warm_poly(12)).run(STEP)
    resumed = Training(warm_poly(12)).resume(whole.state())
    resumed.net.load_state_dict(whole.net.state_dict())
    whole.run(4), resumed.run(4)
    weights = zip(whole.net.parameters(), resumed.net.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in weights)
    ours, theirs = ([s.state_dict() for s in t.schedulers] for t in (resumed, whole))
    assert ours == theirs and resumed.settings() == whole.settings()


def test_settings_are_the_configs_and_moments_the_checkpoints():
    state = Training(poly(9), betas=(0.9, 0.999), weight_decay=0.1, eps=1e-8).run(STEP).state()
    new = dict(lr=0.5, betas=(0.8, 0.9), weight_decay=0.2, eps=1e-6, head_lr=3.0)
    resumed = Training(poly(9), **new).resume(state)
    assert resumed.settings() == Training(poly(9), **new).run(STEP).settings()
    assert resumed.settings()[1]["initial_lr"] == 1.5
    for number, memory in state["optimizer"]["state"].items():
        assert torch.equal(memory["exp_avg"], resumed.memory()[number]["exp_avg"])
        assert int(memory["step"]) == STEP


def test_sgd():
    sgd = dict(kind=torch.optim.SGD)
    state = Training(poly(9), momentum=0.9, **sgd).run(STEP).state()
    resumed = Training(poly(18), momentum=0.5, **sgd).resume(state)
    assert {group["momentum"] for group in resumed.settings()} == {0.5}
    assert resumed.settings() == Training(poly(18), momentum=0.5, **sgd).run(STEP).settings()
    before, after = state["optimizer"]["state"][0], resumed.memory()[0]
    assert torch.equal(before["momentum_buffer"], after["momentum_buffer"])


def test_a_schedule_by_past_validations_is_the_checkpoints():
    plateau = [lambda w: ReduceOnPlateauLR(w, monitor="loss", patience=0)]
    then = Training(plateau).run(STEP)
    for _ in range(3):
        then.schedulers[0].step({"loss": 1.0})
    assert then.settings()[0]["lr"] < 1e-3
    resumed = Training(plateau, lr=0.5).resume(then.state())
    assert resumed.settings() == then.settings()


@pytest.mark.parametrize("named", [True, False], ids=["now", "earlier version"])
@pytest.mark.parametrize(
    "groups",
    [
        lambda net: [dict(params=list(net.parameters()))],
        lambda net: [
            dict(params=[net.body.weight, net.head.weight]),
            dict(params=[net.body.bias, net.head.bias]),
        ],
        lambda net: [dict(params=list(net.body.parameters()))],
    ],
    ids=["one group", "equally many of equal size", "frozen"],
)
def test_other_groups_are_refused(groups, named):
    state = Training(poly(9)).run(STEP).state()
    if not named:
        state["meta"].pop(GROUPS)
    with pytest.raises(UserError, match=r"other parameter groups .*paramwise_cfg"):
        Training(poly(9), groups=groups).resume(state)


def test_equal_groups_in_another_order_are_refused():
    """Sizes and shapes agree; only names tell."""

    def swapped(net):
        first, second = net.body.weight, net.body.bias
        other = net.body2.weight, net.body2.bias
        return [dict(params=[*other]), dict(params=[first, second])]

    class Twin(Net):
        def __init__(self):
            super().__init__()
            self.body2 = copy.deepcopy(self.body)

        def forward(self):
            return super().forward() + self.body2(torch.ones(1, 3)).sum()

    def training(order):
        made = Training.__new__(Training)
        made.net = Twin()
        made.wrapper = StepOptimWrapper(optimizer=torch.optim.AdamW(order(made.net), lr=1e-3))
        made.schedulers = []
        return made

    state = training(lambda net: swapped(net)[::-1]).run(STEP).state()
    with pytest.raises(UserError, match="other parameter groups"):
        training(swapped).resume(state)


@pytest.mark.parametrize("then, now", [("AdamW", "SGD"), ("SGD", "AdamW"), ("Adagrad", "RMSprop")])
def test_another_optimizer_is_refused(then, now):
    state = Training(poly(9), kind=getattr(torch.optim, then)).run(STEP).state()
    with pytest.raises(
        UserError, match=rf"another optimizer than {now} \(optim_wrapper\.optimizer"
    ):
        Training(poly(9), kind=getattr(torch.optim, now)).resume(state)
