"""A GPU that is not there: what lies on it has a shape and a type, but no values.

Inside the region every tensor on the ``cuda`` device is a fake one (torch's ``FakeTensorMode``),
whatever is on the host is real. So a program takes the ways that it takes on a GPU, and three
things are seen without one: an operation between tensors of two devices raises, as it would; every
place where the host would wait for the device is counted; and the choices that depend on the device
(fused optimizers, pinned copies, memory layouts) can be read off.

What a simulation cannot show: numbers, speed, what happens inside kernels, and the backward pass,
for which autograd wants a real device. ``backward`` gives every parameter that the loss depends on
a gradient of zeros.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmseg_uda.benchmarks.simulated_autograd import backward, count_devices

aten = torch.ops.aten
PACKAGE = Path(__file__).parents[1]
MEMORY = 24 * 2**30
Answer = float | Callable[[tuple[int, ...]], Tensor]

# What reads values to know how many results there are, or which.
_COUNTED = {
    aten.nonzero,
    aten.masked_select,
    aten.equal,
    aten.bincount,
    aten.repeat_interleave,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
}
_INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


@dataclass(frozen=True)
class Wait:
    """A place where the host waits for the device.

    Attributes:
        operation: What waits, such as ``aten._local_scalar_dense``.
        where: File of this package, line and function that asked for it.
    """

    operation: str
    where: str

    def __str__(self) -> str:
        return f"{self.where}: {self.operation}"


class SimulatedGpu(TorchDispatchMode):
    """A region in which there is one GPU, without values.

    Modules and tensors that were made before are moved to it with ``.to("cuda")``.

    Args:
        found: How many elements a boolean index or ``nonzero`` is taken to find.
        answer: What every number is that the host reads, or a function that gives the numbers of a
            shape.
        truth: What every truth value is that the host reads.

    Attributes:
        waits: What the host would have waited for, in order.
        unpinned: Copies to the device that are said not to wait, but come from pageable memory.
    """

    def __init__(self, found: int = 1, answer: Answer = 0, truth: bool = False) -> None:
        super().__init__()
        self.found = found
        self.answer = answer
        self.truth = truth
        self.waits: list[Wait] = []
        self.unpinned: list[Wait] = []
        self._pinned: set[int] = set()
        self._kept: list[Tensor] = []
        self._fake = _Fakes(allow_non_fake_inputs=True)
        self._stack = ExitStack()

    def __enter__(self) -> SimulatedGpu:
        count_devices()
        self._stack.enter_context(self._fake)
        for owner, name, value in self._replacements():
            self._stack.enter_context(mock.patch.object(owner, name, value))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._stack.close()

    def _replacements(self) -> Iterator[tuple[Any, str, Any]]:
        """Questions about the device and its clock, with the answers of a GPU that idles."""
        answers = {
            "is_available": True,
            "is_initialized": True,
            "is_bf16_supported": True,
            "is_current_stream_capturing": False,
            "device_count": 1,
            "current_device": 0,
            "get_device_capability": (9, 0),
            "get_device_name": "simulated GPU",
            "get_device_properties": SimpleNamespace(total_memory=MEMORY, major=9, minor=0),
            "mem_get_info": (MEMORY, MEMORY),
            "memory_allocated": 0,
            "max_memory_allocated": 0,
            "empty_cache": None,
            "reset_peak_memory_stats": None,
            "set_rng_state": None,
        }
        for name, answer in answers.items():
            yield torch.cuda, name, lambda *_, answer=answer, **__: answer
        yield torch.cuda, "get_rng_state", lambda *_, **__: torch.zeros(16, dtype=torch.uint8)
        yield torch.cuda, "synchronize", lambda *_: self._wait("torch.cuda.synchronize")
        yield FakeTensor, "tolist", lambda x: self._listed(x)
        yield torch.cuda, "Event", lambda **_: _Event(self)
        yield Tensor, "pin_memory", lambda x, *_, **__: self._pin(x)
        yield Tensor, "is_pinned", lambda x, *_, **__: x.data_ptr() in self._pinned
        yield Tensor, "backward", backward
        yield fake_tensor, "init_gpu_context", lambda *_: None
        yield torch.utils, "swap_tensors", _swap
        load = torch.load  # which makes fakes of all that it reads where a fake mode is on
        yield torch, "load", lambda *args, **kwargs: on_host(load, *args, **kwargs)

    def _pin(self, x: Tensor) -> Tensor:
        self._kept.append(x)  # else another tensor could get its address
        self._pinned.add(x.data_ptr())
        return x

    def _wait(self, operation: str) -> None:
        self.waits.append(Wait(operation, _caller()))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled() and _is_composite(func):
            with _reentered(self):
                return func.decompose(*args, **kwargs)
        fake = any(isinstance(x, FakeTensor) for x in tree_leaves((args, kwargs)))
        target = kwargs.get("device")
        to_gpu = target is not None and torch.device(target).type == "cuda"
        if not fake and not to_gpu:
            return on_host(func, *args, **kwargs)
        operation = func.overloadpacket
        if operation is aten._to_copy:
            return self._copied(func, args[0], kwargs)
        if operation is aten.copy_:
            return self._copied_into(func, args, kwargs)
        if operation in (aten._local_scalar_dense, aten.item):
            self._wait(str(func))
            return on_host(self._values((), args[0].dtype).item)
        if operation in _COUNTED:
            self._wait(str(func))
            return self._counted(func, args, kwargs)
        if operation in _INDEXING:
            args = self._indexed(func, args)
        if str(operation).startswith("aten._fused_") and str(operation).endswith("_"):
            return None  # optimizers: in place, and not all have a fake kernel
        return func(*args, **kwargs)

    def _copied(self, func: Any, source: Tensor, kwargs: dict) -> Tensor:
        blocking = not kwargs.get("non_blocking", False)
        target = torch.device(kwargs.get("device") or source.device).type
        if isinstance(source, FakeTensor) and target == "cpu":
            if blocking:
                self._wait(str(func))
            dtype = kwargs.get("dtype") or source.dtype
            return self._values(source.shape, dtype)
        if not isinstance(source, FakeTensor):
            self._to_gpu(func, source, blocking)
        return func(source, **kwargs)

    def _copied_into(self, func: Any, args: tuple, kwargs: dict) -> Tensor:
        target, source = args[:2]
        blocking = not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
        if not isinstance(target, FakeTensor):
            if blocking:
                self._wait(str(func))
            return on_host(target.copy_, self._values(target.shape, target.dtype))
        if not isinstance(source, FakeTensor) and source.dim() > 0:
            self._to_gpu(func, source, blocking)
        return func(*args, **kwargs)

    def _listed(self, x: Tensor) -> Any:
        self._wait("tolist")
        return on_host(self._values(x.shape, x.dtype).tolist)

    def _values(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """What the host reads, in its own memory."""

        def make() -> Tensor:
            if dtype is torch.bool:
                return torch.full(tuple(shape), self.truth)
            if callable(self.answer):
                return self.answer(tuple(shape)).to(dtype)
            return torch.full(tuple(shape), self.answer, dtype=dtype)

        return on_host(make)

    def _to_gpu(self, func: Any, source: Tensor, blocking: bool) -> None:
        if blocking:
            self._wait(str(func))
        elif source.untyped_storage().data_ptr() not in self._pinned:
            self.unpinned.append(Wait(str(func), _caller()))

    def _counted(self, func: Any, args: tuple, kwargs: dict) -> Any:
        x = args[0]
        if func.overloadpacket is aten.equal:
            return False
        if func.overloadpacket is aten.nonzero:
            return x.new_zeros((self.found, x.dim()), dtype=torch.int64)
        if func.overloadpacket is aten.masked_select:
            return x.new_zeros(self.found)
        if func.overloadpacket is aten.bincount:
            length = args[2] if len(args) > 2 else kwargs.get("minlength", 0)
            return x.new_zeros(max(length, 1), dtype=torch.int64)
        if func.overloadpacket is aten.repeat_interleave:
            return x.new_zeros(kwargs.get("output_size") or self.found, dtype=torch.int64)
        ids = x.new_zeros(self.found, dtype=torch.int64)
        return x.new_zeros(self.found), x.new_zeros(x.numel(), dtype=torch.int64), ids

    def _indexed(self, func: Any, args: tuple) -> tuple:
        """Boolean masks are counted first, unless all that they do is to fill."""
        x, indices, *rest = args
        masks = [i for i in indices if i is not None and i.dtype in (torch.bool, torch.uint8)]
        if any(i is not None and not isinstance(i, FakeTensor) for i in indices):
            self._wait(f"{func} (indices on the host)")
        if not masks:
            return args
        fills = bool(rest) and rest[0].numel() == 1 and len(masks) == 1
        if not fills:
            self._wait(f"{func} (boolean index)")
        numbers: list[Tensor | None] = []
        for index in indices:
            if index is None or index.dtype not in (torch.bool, torch.uint8):
                numbers.append(index)
                continue
            found = x.new_zeros(self.found, dtype=torch.int64)
            numbers.extend([found] * index.dim())
        return (x, numbers, *rest)


@contextmanager
def _reentered(mode: TorchDispatchMode) -> Iterator[None]:
    TorchDispatchMode.__enter__(mode)
    try:
        yield
    finally:
        TorchDispatchMode.__exit__(mode, None, None, None)


def _is_composite(func: Any) -> bool:
    """Whether an operation, which inference mode hands on whole, is made of others."""
    key = DispatchKey.CompositeImplicitAutograd
    return func.namespace == "aten" and func.has_kernel_for_dispatch_key(key)


class _Fakes(FakeTensorMode):
    # torch decides by ``torch.cuda.is_available``, which says yes in the region
    avoid_device_init = property(lambda self: True)


class _Event:
    """``torch.cuda.Event`` of a device that has done all when it is asked."""

    def __init__(self, gpu: SimulatedGpu) -> None:
        self._gpu = gpu
        self._over = False

    def record(self, *_: Any) -> None:
        self._over = False

    def query(self) -> bool:
        self._over = True
        return True

    def synchronize(self) -> None:
        if not self._over:
            self._gpu._wait("torch.cuda.Event.synchronize")
        self._over = True

    def elapsed_time(self, other: _Event) -> float:
        return 0.0


def on_host(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Calls a function with real tensors, inside the region."""
    with unset_fake_temporarily():
        return function(*args, **kwargs)


def _caller() -> str:
    """The innermost line of this package outside this file, else of the caller's program."""
    frame: Any = sys._getframe(2)
    outside = None
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path != Path(__file__):
            if PACKAGE in path.parents:
                return f"{path.relative_to(PACKAGE)}:{frame.f_lineno} {frame.f_code.co_name}"
            if outside is None and "site-packages" not in path.parts and "lib" not in path.parts:
                outside = f"{path.name}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back
    return outside or "?"


_swap_tensors = torch.utils.swap_tensors


def _swap(parameter: Tensor, changed: Tensor) -> None:
    """What ``Module.to`` does to a parameter; of fake ones torch keeps weak references."""
    if isinstance(parameter, FakeTensor):
        parameter.data = changed.detach()
    else:
        _swap_tensors(parameter, changed)
