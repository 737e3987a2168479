"""Numbers of a config that nobody can use, in each place that is read as a number."""

import math

import pytest

from mmseg_uda.config_files import final_configs, read_config
from mmseg_uda.inspection import check_shape, inspect_start

NO_NUMBERS = ("two", True, [1], {}, math.nan, math.inf, -math.inf, -3, 10**30)


def config_with(key, value):
    """A config that holds one value; a number in the key stands for an entry of a list."""
    for name in reversed(key.split(".")):
        value = [value] if name == "0" else {name: value}
    return value


PLACES = {  # what else cannot be used there, and what can
    "train_dataloader.batch_size": ((0, 2.0, 1.5), (1, 16)),
    "val_dataloader.batch_size": ((0,), (1,)),
    "test_dataloader.num_workers": ((-1, 0.5), (0, 16)),
    "train_dataloader.prefetch_factor": ((0,), (2, None)),
    "train_cfg.max_iters": ((0, 0.5), (1, 40000, 4e4)),
    "train_cfg.val_interval": ((0,), (1, 2e3)),
    "default_hooks.checkpoint.interval": ((0,), (-1, 2000)),
    "default_hooks.checkpoint.max_keep_ckpts": ((0,), (-1, 1)),
    "default_hooks.logger.interval": ((0,), (50,)),
    "optim_wrapper.accumulative_counts": ((0,), (1,)),
    "optim_wrapper.clip_grad.max_norm": ((0,), (0.01, 35)),
    "optim_wrapper.optimizer.lr": ((), (0, 6e-5)),
    "optim_wrapper.optimizer.weight_decay": ((), (0, 0.01)),
    "optim_wrapper.paramwise_cfg.custom_keys.head.lr_mult": ((), (0, 10.0)),
    "param_scheduler.0.end": ((1.5,), (0, 1e5, 10**9)),
    "param_scheduler.begin": ((1.5,), (0, 1500)),
    "randomness.seed": ((1.0, 2**32), (0, 2**32 - 1, None)),
    "env_cfg.dist_cfg.timeout": ((0,), (0.5, 1800)),
    "model.test_cfg.stride.0": ((0, 0.5), (1, 512)),
}


@pytest.mark.parametrize("key", PLACES)
def test_a_number_of_no_use_is_named(key):
    wrong, right = PLACES[key]
    shown = key.replace(".0", "[0]")
    for value in (*NO_NUMBERS, *wrong):
        (finding,) = check_shape(config_with(key, value))
        assert finding.level == "problem" and finding.message.startswith(f"{shown}={value!r} ")
        assert finding.fix.startswith("Give a ")
        assert inspect_start([config_with(key, value)]) == [finding]
    for value in right:
        assert check_shape(config_with(key, value)) == []


def test_a_level_of_the_log():
    assert "log_level='LOUD'" in check_shape({"log_level": "LOUD"})[0].message
    assert check_shape({"log_level": "DEBUG"}) == check_shape({"log_level": 10}) == []


def test_published_configs_have_right_ones():
    assert [path for path in final_configs()[::4] if check_shape(read_config(path))] == []
