"""Truncated CRF loss: each destination pixel is pulled to the class of its similar sources.

The gated CRF loss of Obukhov et al. 2019 (arXiv:1906.04651), which SSDA uses between seeds and
non-seeds. With probabilities P, sources s, destinations d and a window of radius R,

    L = 1/D Σ_i d_i Σ_{j in window of i} s_j k_ij (1 - P_i · P_j),   D = max(1, Σ d),
    k_ij = Σ over kernels: weight · exp(-Σ over modalities ‖f_i - f_j‖² / (2 σ²)).

k, s and d carry no gradient, so that L is a quadratic form in P and its gradient is known: with
S_ij = k_ij (d_i s_j + d_j s_i) and Q_i = Σ_j S_ij P_j it is -Q_i / D. Both come out of one
sweep over half of the window, offset by offset, on slices of the maps: no copy of P per
neighbour (which takes 18 GiB at 1024² pixels), and nothing enters from outside the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmseg_uda.models.precision import full_precision

GATE_RULES = ("full_block", "half_block", "nearest")


@dataclass(frozen=True)
class Kernel:
    """One Gaussian of the affinity.

    Attributes:
        sigma: Standard deviation by modality; ``xy`` is the position in cells of the grid on
            which the loss is computed, every other name is a map that is given to the loss.
        weight: Factor (κ).
    """

    sigma: Mapping[str, float] = field(default_factory=lambda: {"xy": 3.0, "rgb": 0.1})
    weight: float = 1.0


def pool_gate(gate: Tensor, size: Sequence[int], rule: str = "full_block") -> Tensor:
    """Reduces a gate to a coarser grid.

    Args:
        gate: (N, H, W) or (N, 1, H, W) of any type, values in [0, 1]; it is not changed.
        size: Height and width of the grid, at most H and W.
        rule: ``full_block``: 1 where the whole block is 1 (a block of seeds and non-seeds takes
            no part); ``half_block``: 1 where its mean is at least ½; ``nearest``: 1 where one
            pixel of it, (⌊y·H/h⌋, ⌊x·W/w⌋), is 1. NaN is never enough.

    Returns:
        (N, h, w) float32 (float64 stays) of 0 and 1.

    Raises:
        ValueError: For an unknown rule or a grid finer than the gate.
    """
    if rule not in GATE_RULES:
        raise ValueError(f"gate rule {rule!r} is none of {GATE_RULES}")
    gate = full_precision(gate)
    gate = gate[:, 0] if gate.dim() == 4 else gate
    if rule == "nearest":
        _check_size("gate", gate, size)
        return (F.interpolate(gate[:, None], size=tuple(size), mode="nearest")[:, 0] >= 1).to(gate)
    least = 1.0 if rule == "full_block" else 0.5
    return (pool(gate[:, None], size, "gate")[:, 0] >= least).to(gate)


def pool(values: Tensor, size: Sequence[int], name: str = "map") -> Tensor:
    """Averages (N, D, H, W) over blocks to (N, D, h, w); maps of that size stay as they are.

    Raises:
        ValueError: If the map is smaller than the grid.
    """
    _check_size(name, values, size)
    if tuple(values.shape[-2:]) == tuple(size):
        return values
    return F.adaptive_avg_pool2d(values, tuple(size))


def truncated_crf_loss(
    probability: Tensor,
    modalities: Mapping[str, Tensor],
    source: Tensor | None = None,
    destination: Tensor | None = None,
    *,
    kernels: Sequence[Kernel] = (Kernel(),),
    radius: int = 5,
    gate_rule: str = "full_block",
    detach_source: bool = False,
) -> Tensor:
    """Gated Potts energy of a soft segmentation in a window around each pixel.

    Args:
        probability: (N, C, h, w) class probabilities; gradients flow into both ends of a pair.
        modalities: Maps (N, D, H, W) that tell similar pixels by name (``rgb``), at least
            h × w in size; larger ones are averaged over blocks.
        source: (N, H, W) of any type in [0, 1], who sends messages (the seeds); None: every
            pixel. At the loss' resolution, too, a value must pass ``gate_rule``.
        destination: Likewise, who receives them (the rest); None: every pixel.
        kernels: Gaussians whose sum is the affinity; at least one.
        radius: R; the window has (2R + 1)² - 1 neighbours. Those outside the image do not exist.
        gate_rule: How gates become h × w; see :func:`pool_gate`.
        detach_source: Let no gradient flow into the sources of a pair.

    Returns:
        0-dim float32 (float64 for float64 probabilities), also under autocast. Exactly 0, with
        zero gradient, without a destination. D is Σ destination, Σ source if only that is
        given, N·h·w if neither is; at least 1. Differentiable once.

    Raises:
        ValueError: A map or gate is smaller than the probabilities or of another batch size, a
            kernel names a modality that is not given, or a number is impossible.
    """
    with torch.autocast(probability.device.type, enabled=False):
        probability = full_precision(probability)
        pairs = _Pairs.create(
            probability, modalities, source, destination, kernels, radius, gate_rule, detach_source
        )
        return _TruncatedCrf.apply(probability, pairs.normalizer, pairs)


@torch.no_grad()
def crf_energy(
    probability: Tensor,
    modalities: Mapping[str, Tensor],
    source: Tensor | None = None,
    destination: Tensor | None = None,
    *,
    kernels: Sequence[Kernel] = (Kernel(),),
    radius: int = 5,
    gate_rule: str = "full_block",
) -> Tensor:
    """The energy by destination pixel, (N, h, w): its sum over D is :func:`truncated_crf_loss`.

    Arguments and errors are those of the loss. For pictures; without gradient.
    """
    with torch.autocast(probability.device.type, enabled=False):
        probability = full_precision(probability)
        pairs = _Pairs.create(
            probability, modalities, source, destination, kernels, radius, gate_rule, True
        )
        messages, mass = pairs.sweep(probability)
        return (mass - (probability * messages).sum(dim=1, keepdim=True))[:, 0]


@dataclass(frozen=True)
class _Pairs:
    """Everything about the pairs of pixels that is constant: affinities and gates."""

    features: tuple[Tensor, ...]  # per kernel (N, D, h, w), divided by σ√2; D may be 0
    kernels: tuple[Kernel, ...]
    source: Tensor | None  # (N, 1, h, w)
    destination: Tensor | None
    normalizer: Tensor
    radius: int
    directed: bool

    @staticmethod
    def create(
        probability: Tensor,
        modalities: Mapping[str, Tensor],
        source: Tensor | None,
        destination: Tensor | None,
        kernels: Sequence[Kernel],
        radius: int,
        gate_rule: str,
        directed: bool,
    ) -> _Pairs:
        if radius < 1:
            raise ValueError(f"radius={radius} leaves no neighbour; at least 1")
        if not kernels:
            raise ValueError("there is no kernel")
        batch, _, *size = probability.shape
        for name, values in (*modalities.items(), ("source", source), ("destination", destination)):
            if values is not None and values.shape[0] != batch:
                raise ValueError(f"{name} has {values.shape[0]} images, the probabilities {batch}")
        with torch.no_grad():
            maps = {
                name: pool(full_precision(values), size, name).to(probability)
                for name, values in modalities.items()
            }
            features = tuple(_scaled(kernel, maps, probability) for kernel in kernels)
            gates = [
                None if gate is None else pool_gate(gate, size, gate_rule)[:, None].to(probability)
                for gate in (source, destination)
            ]
            counted = gates[0] if gates[1] is None else gates[1]
            if counted is None:
                total = probability.new_full((), batch * size[0] * size[1])
            else:
                total = counted.sum()
            normalizer = total.clamp(min=1)
        return _Pairs(features, tuple(kernels), gates[0], gates[1], normalizer, radius, directed)

    @property
    def factor(self) -> float:
        """A symmetric sweep sees every pair from both sides."""
        return 1.0 if self.directed else 0.5

    def sweep(self, probability: Tensor) -> tuple[Tensor, Tensor]:
        """Messages Q (N, C, h, w) and mass Σ_j S_ij (N, 1, h, w), accumulated alike.

        The mass goes through the same sums in the same order as the messages: where all
        probabilities agree the two cancel to exactly 0.
        """
        messages = torch.zeros_like(probability)
        mass = torch.zeros_like(probability[:, :1])
        for at, to in self._offsets(probability.shape[-2:]):
            forth, back = self._affinity(at, to)
            messages[at].addcmul_(forth, probability[to])
            mass[at].add_(forth)
            messages[to].addcmul_(back, probability[at])
            mass[to].add_(back)
        return messages, mass

    def _offsets(self, size: Sequence[int]) -> Iterator[tuple[Any, Any]]:
        """Pairs of slices that lie one offset apart; every pair of pixels comes once."""
        height, width = size
        for dy in range(min(self.radius, height - 1) + 1):
            for dx in range(-self.radius, self.radius + 1):
                if (dy == 0 and dx <= 0) or abs(dx) >= width:
                    continue
                left, right = max(-dx, 0), width - max(dx, 0)
                yield (
                    (..., slice(0, height - dy), slice(left, right)),
                    (..., slice(dy, height), slice(left + dx, right + dx)),
                )

    def _affinity(self, at: Any, to: Any) -> tuple[Tensor, Tensor]:
        """Weights of the messages from ``to`` to ``at`` and back, (N, 1, h', w')."""
        dy = to[1].start - at[1].start
        dx = to[2].start - at[2].start
        affinity: Tensor | None = None
        for kernel, features in zip(self.kernels, self.features, strict=True):
            scale = kernel.weight * _position_factor(kernel, dy, dx)
            difference = features[at] - features[to]
            one = difference.square_().sum(dim=1, keepdim=True).neg_().exp_().mul_(scale)
            affinity = one if affinity is None else affinity.add_(one)
        assert affinity is not None
        forth = _gated(affinity, self.destination, at, self.source, to)
        back = _gated(affinity, self.destination, to, self.source, at)
        if self.directed:
            return forth, back
        both = forth + back
        return both, both


class _TruncatedCrf(torch.autograd.Function):
    """The loss as a quadratic form; see the module's docstring."""

    @staticmethod
    def forward(ctx: Any, probability: Tensor, normalizer: Tensor, pairs: _Pairs) -> Tensor:
        messages, mass = pairs.sweep(probability)
        ctx.save_for_backward(messages, normalizer)
        agreement = (probability * messages).sum(dim=1, keepdim=True)
        return (mass - agreement).sum() * pairs.factor / normalizer

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        messages, normalizer = ctx.saved_tensors
        return messages * (-grad / normalizer), None, None


def _gated(
    affinity: Tensor, destination: Tensor | None, at: Any, source: Tensor | None, to: Any
) -> Tensor:
    result = affinity if destination is None else affinity * destination[at]
    return result if source is None else result * source[to]


def _scaled(kernel: Kernel, maps: Mapping[str, Tensor], probability: Tensor) -> Tensor:
    """Maps of a kernel in units in which the affinity is exp(-distance²), (N, D, h, w)."""
    chosen = []
    for name, sigma in kernel.sigma.items():
        if not sigma > 0:
            raise ValueError(f"sigma[{name!r}]={sigma} is not positive")
        if name == "xy":
            continue
        if name not in maps:
            raise ValueError(f"a kernel uses {name!r}, given are {sorted(maps)}")
        chosen.append(maps[name] / (sigma * 2**0.5))
    if not chosen:
        return probability.new_zeros(probability.shape[0], 0, *probability.shape[2:])
    return torch.cat(chosen, dim=1)


def _position_factor(kernel: Kernel, dy: int, dx: int) -> float:
    sigma = kernel.sigma.get("xy")
    if sigma is None:
        return 1.0
    return math.exp(-(dy * dy + dx * dx) / (2 * sigma * sigma))


def _check_size(name: str, values: Tensor, size: Sequence[int]) -> None:
    if values.shape[-2] < size[0] or values.shape[-1] < size[1]:
        raise ValueError(
            f"{name} of {tuple(values.shape[-2:])} is smaller than the grid {tuple(size)}"
        )
