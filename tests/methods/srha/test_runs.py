"""Runs: resumed, killed, in two processes, through the tools' configs."""

import signal

import child
import pytest
import torch
from process_tasks import srha_alone, srha_synchronised, srha_together
from processes import together
from staged import srha_run


def checkpoint(folder, step):
    return torch.load(folder / f"iter_{step}.pth", weights_only=True)


def differing(one, other):
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


def momenta(saved):
    return [s["momentum_buffer"] for s in saved["optimizer"]["state"].values()]


@pytest.mark.parametrize("uda", [{}, dict(teacher_inputs="independent", alpha=0.9)])
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(tmp_path, uda):
    """kill -9 in the middle; the state afterwards bit for bit."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    changes = dict(
        optim_wrapper=dict(optimizer=dict(_delete_=True, type="SGD", lr=0.01, momentum=0.9))
    )
    srha_run(whole, 6, uda, changes)
    kill = dict(changes, custom_hooks=[dict(type="KilledHook", step=5)])
    assert child.end_of(child.start(srha_run, killed, 6, uda, kill)) == -signal.SIGKILL
    assert (killed / "iter_4.pth").exists() and not (killed / "iter_6.pth").exists()
    srha_run(killed, 6, uda, changes)
    expected, found = checkpoint(whole, 6), checkpoint(killed, 6)
    assert differing(expected["state_dict"], found["state_dict"]) == []
    assert all(map(torch.equal, momenta(expected), momenta(found)))
    assert expected["param_schedulers"] == found["param_schedulers"]
    averaged = any(name.startswith("ema_backbone.") for name in expected["state_dict"])
    assert averaged == ("alpha" in uda)


def flat(gradients):
    return torch.cat([g.flatten() for g in gradients.values() if g is not None])


def test_two_processes():
    """Gradients are the mean of both; plain BatchNorm, as torch synchronises on GPUs only."""
    found = together(srha_together, 3)
    for step in (0, 2):
        state = found[0]["states"][step]
        each = [flat(srha_alone(state, rank, step)) for rank in range(2)]
        mean = sum(each) / 2
        assert (flat(found[0]["gradients"][step]) - mean).norm() / mean.norm() < 1e-5
        assert (each[0] - each[1]).norm() / mean.norm() > 0.1
    first, second = (result["states"][3] for result in found)
    assert differing(first, second) == []
    assert torch.equal(*(result["teacher"] for result in found))
    assert not torch.equal(*(result["weights"] for result in found))  # draws of their own
    assert found[0]["reductions"] == [1, 1, 1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_synchronised_batch_norm():
    """The teacher's layers are synchronised with the student's: still equal at the start."""
    (found,) = together(srha_synchronised, world=1)
    assert found["student"] and found["teacher"]
    assert found["distances"] == pytest.approx([0, 0, 0], abs=1e-6)
    assert found["unchanged"]
