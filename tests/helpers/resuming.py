"""A run that is cut off and resumed, beside one that is not."""

import copy

import torch


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
