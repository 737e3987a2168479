"""Recomputing activations in the backward pass instead of keeping them.

Chen et al., "Training deep nets with sublinear memory cost" (https://arxiv.org/abs/1604.06174),
through ``torch.utils.checkpoint``. What torch leaves to its callers is done here: a recomputation
must not count as a second batch for BatchNorm's running statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from mmseg_uda.errors import UserError

PARTS = ("backbone", "decode_head")
# decoder and scale attention of HRDA; pixel and query decoder of Mask2Former
_INNER_DECODERS = ("head", "scale_attention", "pixel_decoder", "transformer")

#: Elements of a map from which on it is worth having again: 16 MB.
LARGE = 1 << 22

_made: dict[type, type] = {}
# whether the forward pass that runs is one of a module that is recomputed as a whole
_inside: ContextVar[bool] = ContextVar("_inside", default=False)


def recompute_activations(segmentor: Any, parts: Sequence[str]) -> None:
    """Recomputes parts of a segmentor in the backward pass.

    Forward results, gradients, random draws and running statistics stay the same; a training
    step gets slower by about one more forward pass of the parts. Names in the state dict stay.
    Inside a compiled network, parts with BatchNorm are left to the compiler, which recomputes
    what is cheap of its own accord.

    Args:
        segmentor: An mmseg ``EncoderDecoder``; changed in place.
        parts: ``backbone``: block by block, for any encoder made of repeated blocks.
            ``decode_head``: each decoder as a whole (HRDA: decoder and scale attention).

    Raises:
        UserError: A part is unknown, or the encoder has no blocks.
    """
    for part in parts:
        if part not in PARTS:
            raise UserError(
                f"execution.recompute={part!r} is unknown.", fix=f"Use some of {', '.join(PARTS)}."
            )
    if "backbone" in parts:
        recompute_modules(encoder_blocks(segmentor.backbone))
    if "decode_head" in parts:
        recompute_modules(decoders(segmentor))


def recompute_modules(modules: Iterable[nn.Module]) -> None:
    """Recomputes each module's forward as a whole; a second call changes nothing."""
    for module in modules:
        if hasattr(module, "with_cp"):
            module.with_cp = False  # mmseg's own way counts batches twice
        if type(module) not in _made.values():
            module.counts_batches = any(True for _ in _batch_norms(module))
            module.__class__ = _recomputing(type(module))


def encoder_blocks(backbone: nn.Module) -> list[nn.Module]:
    """The repeated blocks of an encoder.

    These are the modules that mmseg itself could recompute (they have a ``with_cp``), else the
    items of lists and sequences that hold nothing but one class.

    Raises:
        UserError: If there are none.
    """
    inner = [module for module in backbone.modules() if module is not backbone]
    blocks = [m for m in inner if hasattr(m, "with_cp") and not _has_inside(m, "with_cp")]
    if not blocks:
        blocks = list(_alike(backbone))
    if not blocks:
        raise UserError(
            f"{type(backbone).__name__} is not made of repeated blocks that could be recomputed.",
            fix="Leave 'backbone' out of execution.recompute.",
        )
    return blocks


def decoders(segmentor: Any) -> list[nn.Module]:
    """The decoders that run on encoder features: one, or the two of HRDA or of Mask2Former."""
    if isinstance(segmentor.decode_head, nn.ModuleList):  # a cascade
        return list(segmentor.decode_head)
    head = segmentor.decode_head
    inner = [getattr(head, name, None) for name in _INNER_DECODERS]
    return [module for module in inner if module is not None] or [head]


def norm_relu_conv(x: Tensor, norm: nn.Module, relu: nn.Module, conv: nn.Module) -> Tensor:
    """``conv(relu(norm(x)))``, of which the gradient keeps ``x`` alone.

    The normalised map is as large as ``x`` and cheap to have again (Bulò et al., "In-place
    activated BatchNorm", https://arxiv.org/abs/1712.02616). Results and gradients are the same,
    bit by bit. Done for maps of :data:`LARGE` elements and more, a ``BatchNorm2d`` of one process
    and a ReLU in place; whatever else runs as it is. A CPU takes 4 % longer for DAFormer's step
    and holds 8 % less (crops of 256²).

    Args:
        x: (B, C, H, W).
        norm: Of C channels.
        relu: The activation.
        conv: A convolution of C channels.
    """
    normed = norm(x)
    known = isinstance(relu, nn.ReLU) and relu.inplace and type(norm) is nn.BatchNorm2d
    pays = normed.requires_grad and normed.dtype == x.dtype and x.numel() >= LARGE
    # The compiler, and what recomputes more than this, will not keep the map anyhow.
    if torch.compiler.is_compiling() or not (known and pays) or _inside.get():
        return conv(relu(normed))
    again = _NormedAgain(norm, x.detach(), normed)
    with saved_tensors_hooks(again.pack, again.unpack):
        return conv(relu(normed))


class _NormedAgain:
    """Stands for a normalised and rectified map among what is kept for the gradient."""

    def __init__(self, norm: nn.Module, x: Tensor, normed: Tensor) -> None:
        self._norm, self._x = norm, x
        self._storage = normed.untyped_storage()._cdata
        self._uses = 0
        self._waiting = 0
        self._map: Tensor | None = None

    def pack(self, tensor: Tensor) -> Any:
        if tensor.untyped_storage()._cdata != self._storage:
            return tensor
        self._uses += 1
        return self

    def unpack(self, kept: Any) -> Tensor:
        if kept is not self:
            return kept
        if self._map is None:
            with torch.no_grad(), _scratch_statistics(self._norm):
                self._map = self._norm(self._x).relu_()
            self._waiting = self._uses
        # The convolution and the ReLU ask for it one after the other.
        found, self._waiting = self._map, self._waiting - 1
        if not self._waiting:
            self._map = None
        return found


def _has_inside(module: nn.Module, attribute: str) -> bool:
    return any(hasattr(m, attribute) for m in module.modules() if m is not module)


def _alike(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, (nn.ModuleList, nn.Sequential)):
            kinds = {type(item) for item in child}
            if len(kinds) == 1 and any(True for _ in child[0].children()):
                yield from child
                continue
        yield from _alike(child)


def _recomputing(kind: type) -> type:
    """A subclass of ``kind`` whose forward is recomputed.

    The class of an instance is exchanged, not its ``forward``: a copy of the module must run its
    own parameters, and state dicts must not change.
    """
    if kind not in _made:

        def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
            def run(*inputs: Any) -> Any:
                return kind.forward(self, *inputs, **kwargs)  # type: ignore[attr-defined]

            def inside(*inputs: Any) -> Any:
                before = _inside.set(True)
                try:
                    return run(*inputs)
                finally:
                    _inside.reset(before)

            if not torch.is_grad_enabled():
                return run(*args)
            if torch.compiler.is_compiling():
                # The compiler recomputes inside its graph. It would need the statistics as they
                # were, which a second forward pass before the backward pass overwrites.
                if self.counts_batches:
                    return run(*args)
                return checkpoint(run, *args, use_reentrant=False)
            return checkpoint(
                inside,
                *args,
                use_reentrant=False,
                context_fn=lambda: (nullcontext(), _scratch_statistics(self)),
            )

        name = f"Recomputed{kind.__name__}"
        _made[kind] = type(name, (kind,), {"forward": forward, "__doc__": kind.__doc__})
    return _made[kind]


def _batch_norms(module: nn.Module) -> Iterator[nn.Module]:
    return (m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))


def _scratch_statistics(module: nn.Module) -> AbstractContextManager[None]:
    """Regions in which BatchNorm layers update copies of their running statistics."""

    @contextmanager
    def region() -> Iterator[None]:
        norms = list(_batch_norms(module))
        kept: list[dict[str, Tensor | None]] = [dict(norm._buffers) for norm in norms]
        for norm in norms:
            for name, buffer in norm._buffers.items():
                norm._buffers[name] = None if buffer is None else buffer.clone()
        try:
            yield
        finally:
            for norm, buffers in zip(norms, kept, strict=True):
                norm._buffers.update(buffers)

    return region()
