"""Counts what a training step computes and holds, from fake tensors: no weights, data or GPU."""

from __future__ import annotations

import math
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_leaves

from mmseg_uda.benchmarks.simulated_gpu import SimulatedGpu, on_host
from mmseg_uda.models import convolutions

aten = torch.ops.aten
#: torch's allocator for GPUs hands out multiples of so many bytes.
ALLOCATION = 512


@dataclass(frozen=True)
class Operation:
    """One operation on tensors.

    Attributes:
        flops: Multiplications and additions of convolutions, matrix products and attention.
        convolves: Whether it is a convolution, which GPUs may round to TF32.
        moved: Bytes that it reads and writes.
    """

    flops: int
    convolves: bool
    moved: int


class StepMeter(SimulatedGpu):
    """A region in which tensors on the CPU that were made fake are counted, backward included.

    Attributes:
        operations: Everything on fake tensors since :meth:`restart`.
        live: Bytes that are held now.
        peak: The most that was held since :meth:`restart`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()
        self.operations: list[Operation] = []
        self.flops = self.live = self.peak = 0

    def restart(self) -> None:
        """Forgets operations and peak; what is held stays."""
        self.operations.clear()
        self.flops, self.peak = 0, self.live

    def adopt(self, module: nn.Module) -> None:
        """Turns parameters and buffers into fake ones, in place; what was shared stays shared."""
        places: dict[int, list[tuple[nn.Module, str]]] = defaultdict(list)
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None:
                    places[id(parameter)].append((part, name))
        module._apply(lambda x: self._tracked(self.fake(x)))
        # torch gives every place a parameter of its own
        for (owner, own_name), *others in places.values():
            for part, name in others:
                part._parameters[name] = owner._parameters[own_name]

    def fake(self, x: Tensor) -> Tensor:
        """A fake tensor like ``x``."""
        return x if isinstance(x, FakeTensor) else self._fake.from_tensor(x)

    def _replacements(self) -> Iterator[tuple[Any, str, Any]]:
        for owner, name, value in super()._replacements():
            if owner in (FakeTensor, torch.utils, torch):
                yield owner, name, value
        # what a library reads on the host (matching of masks to classes)
        yield FakeTensor, "numpy", lambda x, **_: on_host(self._values(x.shape, x.dtype).numpy)
        # These tensors stand for a GPU's, which convolves them at once.
        yield convolutions, "LARGEST", math.inf

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        results = [x for x in tree_leaves(out) if isinstance(x, FakeTensor)]
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, FakeTensor)]
        if not results and not given:
            return out
        moved = 0 if func.is_view else sum(map(_bytes, (*results, *given)))
        flops, convolves = count_flops(func, args, out)
        self.operations.append(Operation(flops, convolves, moved))
        self.flops += flops
        for x in results:
            self._tracked(x)
        return out

    def _copied(self, func: Any, source: Tensor, kwargs: dict) -> Tensor:
        return func(source, **kwargs)

    def _copied_into(self, func: Any, args: tuple, kwargs: dict) -> Tensor:
        return func(*args, **kwargs) if isinstance(args[0], FakeTensor) else args[0]

    def _tracked(self, x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage not in self._seen:
            self._seen.add(storage)
            size = math.ceil(storage.nbytes() / ALLOCATION) * ALLOCATION
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._freed, size)
        return x

    def _freed(self, size: int) -> None:
        self.live -= size


def _bytes(x: Tensor) -> int:
    return x.numel() * x.element_size()


def _convolution(args: tuple, out: Any) -> int:
    image, weight, transposed = args[0], args[1], args[6]
    return 2 * (image if transposed else out).numel() * math.prod(weight.shape[1:])


def _convolution_backward(args: tuple, out: Any) -> int:
    grad, image, weight, transposed = args[0], args[1], args[2], args[7]
    wanted = sum(bool(part) for part in args[10][:2])  # of image and weight
    return wanted * 2 * (image if transposed else grad).numel() * math.prod(weight.shape[1:])


def _attention(args: tuple, out: Any, products: tuple[int, int] = (1, 1)) -> int:
    query, key, value = args[:3]
    pairs = math.prod(query.shape[:-1]) * key.shape[-2]
    return 2 * pairs * (products[0] * query.shape[-1] + products[1] * value.shape[-1])


def _attention_backward(args: tuple, out: Any) -> int:
    # scores again, and the gradients of query, key, value and probabilities
    return _attention(args[1:], out, (3, 2))


_FLOPS: dict[Any, Callable[[tuple, Any], int]] = {
    aten.mm: lambda args, out: 2 * out.numel() * args[0].shape[-1],
    aten.bmm: lambda args, out: 2 * out.numel() * args[0].shape[-1],
    aten.addmm: lambda args, out: 2 * out.numel() * args[1].shape[-1],
    aten.baddbmm: lambda args, out: 2 * out.numel() * args[1].shape[-1],
    aten.convolution: _convolution,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten.convolution_backward: _convolution_backward,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def count_flops(func: Any, args: tuple, out: Any) -> tuple[int, bool]:
    """Floating-point operations of one operation, and whether it is a convolution."""
    packet = func.overloadpacket
    formula = _FLOPS.get(packet)
    convolves = packet in (aten.convolution, aten.convolution_backward)
    return (0 if formula is None else formula(args, out)), convolves
