"""A run that is cut off and resumed, beside one that is not."""

import copy
import os
import signal

import torch
from child import end_of, start
from mmengine.hooks import Hook

from mmseg_uda.engine import build_runner


class KillAt(Hook):
    """Kills the process behind a step, before any checkpoint of it."""

    priority = "HIGHEST"

    def __init__(self, step):
        self.step = step

    def after_train_iter(self, runner, *_, **__):
        if runner.iter + 1 == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def same(one, other):
    """Whether two state dicts are equal bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def whole_and_resumed(build, train, optimizer, before=3, behind=2):
    """Train before and behind a checkpoint, in one go and by a second trainer that reads it.

    Args:
        build: Returns a trainer, the same at every call.
        train: ``train(trainer, steps, wrapper, start)`` returns logs and the optimizer's wrapper.
        optimizer: Returns the wrapper of a trainer.

    Returns:
        Both trainers, all logs of the first, and those of the second.
    """
    whole = build()
    logs, wrapper = train(whole, before, optimizer(whole), 0)
    state, steps = copy.deepcopy(whole.state_dict()), copy.deepcopy(wrapper.state_dict())
    logs = [*logs, *train(whole, behind, wrapper, before)[0]]

    resumed = build()
    torch.manual_seed(99)
    resumed.load_state_dict(state)
    wrapper = optimizer(resumed)
    wrapper.load_state_dict(steps)
    return whole, resumed, logs, train(resumed, behind, wrapper, before)[0]


def whole_and_killed(config, folder, kill=5, steps=6):
    """The last checkpoints of a training and of one that is killed with -9 and started again.

    Args:
        config: ``config(work_dir, steps)``, with ``resume`` and a checkpoint every other step.
        folder: Where both train.
        kill: The step behind which the process is killed; the checkpoint before it is resumed.
        steps: Length of both.
    """

    def until_killed():
        runner = build_runner(config(folder / "killed", steps))
        runner.register_hook(KillAt(kill))
        runner.train()

    assert end_of(start(until_killed)) == -signal.SIGKILL
    left = [(folder / f"killed/iter_{step}.pth").is_file() for step in (kill - 1, steps)]
    assert left == [True, False]
    for name in ("whole", "killed"):
        build_runner(config(folder / name, steps)).train()
    return [
        torch.load(folder / name / f"iter_{steps}.pth", weights_only=True)
        for name in ("whole", "killed")
    ]


def differences(one, other):
    """Paths of what differs bit for bit in weights, optimizers and schedules of checkpoints."""
    found = []
    for part in ("state_dict", "optimizer", "param_schedulers"):
        first, second = dict(leaves(one[part])), dict(leaves(other[part]))
        found += [f"{part}{path}" for path in first.keys() ^ second.keys()]
        for path in first.keys() & second.keys():
            a, b = first[path], second[path]
            equal = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
            # mmengine counts the calls of a schedule anew.
            if not equal and "_global_step" not in path:
                found.append(f"{part}{path}")
    return found


def leaves(value, path=""):
    """Pairs of path and leaf of nested dicts and lists."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from leaves(item, f"{path}[{number}]")
    else:
        yield path, value
