"""Rates of every row of the tables over a training, through the runner that trains it."""

from fixed_run import config

from experiments import EXPERIMENTS
from mmseg_uda.engine import build_runner


def schedules():
    """Distinct schedules and lengths of all rows."""
    found = {}
    for experiment in EXPERIMENTS:
        for row in experiment.rows:
            training = row.resolved.get("train_cfg")
            if training and not isinstance(row.resolved["param_scheduler"], dict):
                schedule, steps = row.resolved["param_scheduler"], training["max_iters"]
                found.setdefault((repr(schedule), steps), (experiment.id, schedule, steps))
    return list(found.values())


def test_rates_reach_the_optimizers_and_fall_to_nothing(tmp_path):
    wrong = {}
    for experiment, schedule, steps in schedules():
        changed = config(tmp_path, steps)
        changed.param_scheduler = schedule
        runner = build_runner(changed)
        runner._train_loop = runner.build_train_loop(runner._train_loop)
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        built = runner.build_param_scheduler(runner.param_schedulers)
        rates = []
        for _ in range(steps):
            rates.append(runner.optim_wrapper.get_lr()["lr"][0])
            for one in built:
                one.step()
        base = changed.optim_wrapper.optimizer.lr
        if steps > 100 and not (max(rates) > 0.9 * base and rates[-1] < 0.01 * base):
            wrong[experiment] = (schedule, steps, max(rates), rates[-1])
    assert wrong == {}
