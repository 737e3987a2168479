"""Learning-rate curves of the configs against the published values."""

import pytest
import torch
from fixed_run import config, with_validation
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmseg.registry import PARAM_SCHEDULERS

from mmseg_uda.engine import build_runner
from mmseg_uda.experiments.history import read_scalars

EVERY_STEP = {"default_hooks.logger.interval": 1}
BASES = "configs/_base_"
SCHEDULES = {
    "poly10warm": (f"{BASES}/recipes/default.py", "param_scheduler"),
    "poly10warm_csi": (f"{BASES}/methods/csi.py", "csi_schedule"),
    "poly10": (f"{BASES}/recipes/default.py", "poly10"),
}
CURVES = {
    "poly10warm": {
        0: 6e-11,
        1: 4.00589585e-8,
        49: 1.958e-6,
        99: 3.950e-6,
        149: 5.938e-6,
        199: 7.920e-6,
        749: 2.939903e-5,
        750: 2.943752944e-5,
        1499: 5.771299904e-5,
        1500: 5.775e-5,
        20000: 3e-5,
        39999: 1.5e-9,
    },
    "poly10warm_csi": {
        0: 6e-11,
        749: 2.998002e-5,
        1499: 6e-5,
        1500: 6e-5,
        20000: 3.116808e-5,
        39999: 0.0,
    },
    # the published runs' floor of 1e-4 is above the encoder's rate
    "poly10": {0: 6e-5, 20000: 3e-5, 39999: 1.5e-9},
}


@pytest.mark.parametrize("name", CURVES)
def test_learning_rate(name):
    schedule = Config.fromfile(SCHEDULES[name][0])[SCHEDULES[name][1]]
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.AdamW(
        [dict(params=parameters[:1], lr=6e-5), dict(params=parameters[1:], lr=6e-4)], lr=6e-5
    )
    wrapper = OptimWrapper(optimizer)
    schedulers = [PARAM_SCHEDULERS.build({**s, "optimizer": wrapper}) for s in schedule]
    optimizer.step()
    for step in range(40000):
        if step in CURVES[name]:
            expected = CURVES[name][step]
            rel = 1e-3 if step in (49, 99, 149, 199) else 1e-6
            encoder, head = (group["lr"] for group in optimizer.param_groups)
            assert encoder == pytest.approx(expected, rel=rel, abs=1e-15)
            assert head == pytest.approx(10 * expected, rel=rel, abs=1e-14)
        for scheduler in schedulers:
            scheduler.step()


@pytest.mark.parametrize(
    ("name", "steps", "factors"),
    [
        # 0.005 / 0.01, then 0.00267943 / 0.00535887, then 2.504e-7 / 5.008e-7
        ("poly09_60k", 60000, {0: 1, 30000: 0.535887, 59999: 5.008e-5}),
        ("poly09_120k", 120000, {0: 1, 60000: 0.535887, 119999: (1 / 120000) ** 0.9}),
        ("poly09_40k", 40000, {0: 1, 20000: 0.535887, 39999: (1 / 40000) ** 0.9}),
    ],
)
def test_learning_rate_of_domain_generalization(name, steps, factors):
    recipe = Config.fromfile(f"{BASES}/recipes/generalization.py")
    loop = recipe.get(name.replace("poly09", "loop"))
    assert (loop or Config.fromfile(f"{BASES}/recipes/default.py").train_cfg).max_iters == steps
    groups = [dict(params=[torch.nn.Parameter(torch.zeros(1))], lr=lr) for lr in (0.005, 0.01)]
    optimizer = torch.optim.SGD(groups, lr=0.01)
    (scheduler,) = [PARAM_SCHEDULERS.build({**s, "optimizer": optimizer}) for s in recipe[name]]
    optimizer.step()
    for step in range(steps):
        if step in factors:
            encoder, head = (group["lr"] for group in optimizer.param_groups)
            assert encoder == pytest.approx(0.005 * factors[step], rel=2e-4)
            assert head == pytest.approx(0.01 * factors[step], rel=2e-4)
        scheduler.step()


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (dict(type="WarmupLinear", warmup=2, start=0.5, total=10), [0.5, 1, 0.8, 0.7]),
        (dict(type="PolyLR", power=1.0, eta_min=0.0, end=9), [1, 0.875, 0.75, 0.625]),
        (dict(type="PolyLR", power=1.0, eta_min=0.0), [1, 2 / 3, 1 / 3, 0]),
        ([dict(type="MultiStepLR", milestones=[2])], [1, 1, 0.1, 0.1]),
    ],
)
def test_a_schedule_that_says_nothing_of_epochs_counts_steps(tmp_path, schedule, factors):
    changed = config(tmp_path, 4, **EVERY_STEP)
    changed.param_scheduler = schedule
    trained = build_runner(changed).train()
    rates = read_scalars(tmp_path)["lr"]
    assert int(trained.step) == 4
    assert [rate for _, rate in rates] == pytest.approx([1e-3 * factor for factor in factors])


def test_a_plateau_counts_validations(tmp_path):
    # No mIoU is 200 times less than the last.
    schedule = [dict(type="ReduceOnPlateauLR", monitor="mIoU", patience=0, threshold=200.0)]
    changes = with_validation(tmp_path, dict(param_scheduler=schedule, **EVERY_STEP), every=1)
    build_runner(config(tmp_path / "run", 5, **changes)).train()
    rates = [rate for _, rate in read_scalars(tmp_path / "run")["lr"]]
    assert rates == pytest.approx([1e-3, 1e-4, 1e-5, 1e-6, 1e-7])


@pytest.mark.parametrize("processor", [None, dict(window_size=1)])
def test_a_log_that_says_nothing_of_epochs_counts_steps(tmp_path, processor):
    cfg = config(tmp_path, 1).to_dict()
    cfg.pop("log_processor")
    cfg |= {"log_processor": processor} if processor else {}
    assert build_runner(Config(cfg)).log_processor.by_epoch is False
