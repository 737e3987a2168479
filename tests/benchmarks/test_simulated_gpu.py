"""The simulated GPU: what it calls a wait or an error, a GPU would."""

import subprocess
import sys

import pytest
import torch
from torch import nn


def ones(*shape, dtype=None):
    return torch.ones(*shape, device="cuda", dtype=dtype)


READS = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x[0]),
    "branch": lambda x: bool(x.any()),
    "list": lambda x: x.tolist(),
    "copy to the host": lambda x: x.cpu(),
    "boolean index": lambda x: x[x > 0],
    "assignment by mask": lambda x: x.__setitem__(x > 0, ones(2)),
    "nonzero": lambda x: x.nonzero(),
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique": lambda x: x.long().unique(),
    "equal": lambda x: torch.equal(x, x),
    "bincount": lambda x: torch.bincount(x.long(), minlength=3),
    "tensor from numbers": lambda x: torch.tensor([1.0, 2.0], device="cuda"),
    "copy from the host": lambda x: torch.ones(3).to("cuda"),
    "synchronize": lambda x: torch.cuda.synchronize(),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_reading_makes_the_host_wait(read, simulated_gpu):
    x = ones(4)
    assert simulated_gpu.waits == []
    read(x)
    assert simulated_gpu.waits


CALM = {
    "arithmetic": lambda x: (x * 2 + torch.tensor(3.0)).softmax(0),
    "filling by mask": lambda x: x.__setitem__(x > 0, 0.0),
    "gathering": lambda x: x[x.long() * 0],
    "where": lambda x: torch.where(x > 0, x, 0.0).sort(),
    "pinned copy": lambda x: torch.ones(3).pin_memory().to("cuda", non_blocking=True),
    "asynchronous copy": lambda x: x.to("cpu", non_blocking=True),
    "event": lambda x: torch.cuda.Event().query(),
}


@pytest.mark.parametrize("run", CALM.values(), ids=CALM)
def test_what_needs_no_value_does_not_wait(run, simulated_gpu):
    run(ones(4))
    assert simulated_gpu.waits == simulated_gpu.unpinned == []


def test_a_copy_from_pageable_memory_is_told(simulated_gpu):
    ones(3).copy_(torch.ones(3), non_blocking=True)
    assert len(simulated_gpu.unpinned) == 1


@pytest.mark.parametrize(
    "mix", [torch.add, torch.mul, torch.nn.functional.mse_loss, lambda a, b: torch.cat([a, b])]
)
def test_tensors_of_two_devices_do_not_meet(mix, simulated_gpu):
    with pytest.raises(RuntimeError, match="two different devices"):
        mix(ones(4), torch.ones(4))


def test_the_place_of_a_wait_is_named(simulated_gpu):
    ones(2).sum().item()
    (wait,) = simulated_gpu.waits
    assert "test_simulated_gpu.py" in str(wait) and "_local_scalar_dense" in str(wait)


def test_the_host_keeps_its_values(simulated_gpu):
    assert torch.arange(5).sum().item() == 10
    assert torch.randperm(4).sort().values.tolist() == [0, 1, 2, 3]
    assert simulated_gpu.waits == []


def test_answers_can_be_chosen(simulated_gpu):
    x = ones(3)
    assert x.tolist() == [0, 0, 0] and bool(x.any()) is False
    simulated_gpu.answer = 2
    assert x.sum().item() == 2 and x.cpu().tolist() == [2, 2, 2]
    simulated_gpu.answer = lambda shape: torch.arange(shape[0])
    assert x.cpu().tolist() == [0, 1, 2]


def test_every_parameter_behind_a_loss_gets_a_gradient(simulated_gpu):
    used, spare = nn.Linear(3, 2), nn.Linear(3, 2)
    used.to("cuda"), spare.to("cuda")
    used(ones(1, 3)).sum().backward()
    assert {p.grad.device.type for p in used.parameters()} == {"cuda"}
    assert all(p.grad is None for p in spare.parameters())


def test_the_host_is_itself_again_afterwards():
    from mmseg_uda.benchmarks.simulated_gpu import SimulatedGpu

    before = torch.cuda.is_available(), torch.Tensor.backward
    with SimulatedGpu():
        assert torch.cuda.is_available()
    assert (torch.cuda.is_available(), torch.Tensor.backward) == before
    x = torch.ones(2, requires_grad=True)
    (2 * x).sum().backward()
    assert x.grad.tolist() == [2, 2]


FORKS = """
import os, sys, torch
from mmseg_uda.benchmarks.simulated_gpu import SimulatedGpu
with SimulatedGpu():
    torch.ones(3, device="cuda", requires_grad=True).sum().backward()
torch.ones((), requires_grad=True).backward()
child = os.fork()
if child == 0:
    torch.ones((), requires_grad=True).backward()
    os._exit(0)
sys.exit(os.waitpid(child, 0)[1])
"""


def test_processes_that_are_forked_afterwards_can_train():
    done = subprocess.run([sys.executable, "-c", FORKS], stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
