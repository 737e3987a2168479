"""Several processes train one model: what they exchange before the optimizer's step.

Every process computes the step on a batch of its own, with random numbers of its own. Before the
optimizer's step the processes exchange, once:

* the gradients' mean over all processes;
* which parameters have a gradient in any process. A parameter without one in a process counts as
  zero there; without one in all processes it keeps ``grad=None``, so that weight decay and
  momentum leave it alone as in one process;
* the running statistics of all normalisation layers (student and teachers), averaged, so that
  these stay the same in all processes. Averaging them is exact for the means; for the variances
  it leaves out the spread of the processes' means, as a batch split over processes does anyway;
* whether a loss of any process is not finite, so that all of them stop before the step.

What is logged is the first process's.

Why not torch's DistributedDataParallel? It reduces gradients by hooks during backward passes, and
so needs to know beforehand which pass is the last and which parameters it reaches. Here a step is
made of several passes, some of which (CDDA's guidance) happen in some processes only; with hooks
that dead-locks or reduces too early. One explicit exchange after the last pass cannot, and no
trainer or component needs a line for it. Its price is that it does not overlap with the last
backward pass: the gradients of MiT-B5 are 330 MB, copied and sent in buckets, of which two are
under way at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from mmengine.dist import get_world_size
from torch import Tensor, distributed, nn

from mmseg_uda.engine.processes import wait_for

BUCKET_MIB = 32.0


class StepExchange:
    """What the processes exchange before an optimizer step; see the module's docstring.

    Args:
        parameters: Those that the optimizer updates, in the same order in every process.
        statistics: Buffers to be averaged, in the same order in every process.
        bucket_mib: Size of one message in MiB. A model that fits in takes a single one.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        statistics: Iterable[Tensor] = (),
        bucket_mib: float = BUCKET_MIB,
    ) -> None:
        self._parameters = list(parameters)
        self._statistics = list(statistics)
        self._buckets = _buckets(self._parameters, int(bucket_mib * 2**20))

    @torch.no_grad()
    def __call__(self, flags: Tensor) -> Tensor:
        """Exchanges gradients and statistics in place; in one process nothing happens.

        A process waits for the device only if some of its parameters had no gradient.

        Args:
            flags: (n,) float32, at least 0.

        Returns:
            (n,) float32, the flags' mean over the processes: above 0 where any process set one.
        """
        if get_world_size() == 1:
            return flags
        present = [p.grad is not None for p in self._parameters]
        mine = flags.new_ones(len(present)) if all(present) else flags.new_tensor(present)
        extras = torch.cat([flags, mine, *(b.flatten().float() for b in self._statistics)])
        filled: dict[int, Tensor] = {}
        under_way: list[tuple[list[int], Tensor, Any]] = []
        for number, bucket in enumerate(self._buckets):
            parts = [self._gradient(i).reshape(-1) for i in bucket]
            if number == 0:
                parts.append(extras)
            flat = torch.cat(parts).mul_(1 / get_world_size())
            under_way.append((bucket, flat, distributed.all_reduce(flat, async_op=True)))
            if number == 0:
                extras = flat[flat.numel() - extras.numel() :]
            if len(under_way) > 1:
                self._take(*under_way.pop(0), filled)
        for last in under_way:
            self._take(*last, filled)
        flags, shares, *statistics = extras.split(
            [flags.numel(), len(present), *(b.numel() for b in self._statistics)]
        )
        means = [
            # Counted batches are whole.
            (mean if buffer.is_floating_point() else mean.round()).view_as(buffer)
            for buffer, mean in zip(self._statistics, statistics, strict=True)
        ]
        if means:
            torch._foreach_copy_(self._statistics, means)
        if filled:
            found = shares.tolist()  # the host has to know where grad stays None
            for i, gradient in filled.items():
                self._parameters[i].grad = gradient if found[i] > 0 else None
        return flags

    def _gradient(self, index: int) -> Tensor:
        parameter = self._parameters[index]
        return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad

    def _take(self, bucket: list[int], flat: Tensor, work: Any, filled: dict[int, Tensor]) -> None:
        """Puts a bucket's means in place of the gradients, or into ``filled`` where there is none.

        Args:
            bucket: Indices of the parameters.
            flat: Their gradients, and what else was sent.
            work: To wait for; on a GPU the device waits, not the host.
            filled: Gradients of parameters that have none in this process, by index.
        """
        wait_for(work)
        grads, means = [], []
        start = 0
        for i in bucket:
            parameter = self._parameters[i]
            mean = flat[start : start + parameter.numel()].view(parameter.shape)
            start += parameter.numel()
            if parameter.grad is None:
                filled[i] = mean.clone()
            else:
                grads.append(parameter.grad)
                means.append(mean)
        if grads:
            torch._foreach_copy_(grads, means)


def _buckets(parameters: Sequence[nn.Parameter], limit: int) -> list[list[int]]:
    """Indices of parameters of one dtype each, up to ``limit`` bytes; a float32 bucket first.

    The first bucket carries the flags and statistics too, which are float32.
    """
    by_dtype: dict[torch.dtype, list[list[int]]] = {torch.float32: [[]]}
    size: dict[torch.dtype, int] = {}
    for i, parameter in enumerate(parameters):
        dtype, bytes_ = parameter.dtype, parameter.numel() * parameter.element_size()
        buckets = by_dtype.setdefault(dtype, [[]])
        if buckets[-1] and size[dtype] + bytes_ > limit:
            buckets.append([])
        size[dtype] = size.get(dtype, 0) + bytes_ if buckets[-1] else bytes_
        buckets[-1].append(i)
    return [bucket for buckets in by_dtype.values() for bucket in buckets]


def running_statistics(network: nn.Module) -> list[Tensor]:
    """The buffers of all normalisation layers that keep statistics of what they have seen.

    Counters of batches are among them where statistics depend on them (``momentum=None``).
    """
    found = []
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            found += [module.running_mean, module.running_var]
            if module.momentum is None:
                found.append(module.num_batches_tracked)
    return [buffer for buffer in found if buffer is not None]
