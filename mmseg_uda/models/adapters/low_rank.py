"""Low-rank adapters of linear layers: LoRA and SoMA.

LoRA: Hu et al., https://arxiv.org/abs/2106.09685. SoMA: Yun et al., https://arxiv.org/abs/2412.04077.
A layer computes with W + s·B·A; B and A are trained, W is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmseg_uda.errors import UserError

PROJECTIONS = ("q", "k", "v")
TARGETS = (*PROJECTIONS, "proj", "fc1", "fc2")


@dataclass(frozen=True)
class LowRankOptions:
    """Options of ``backbone.adapter`` with ``type='lora'`` or ``'soma'``."""

    type: str
    """``lora``: W stays whole, B starts at 0; ``soma``: B·A starts as the weakest singular
    components of W, which W loses."""
    rank: int = 16
    """Rank r of B·A."""
    alpha: float = 16
    """The scale s is alpha / rank."""
    targets: Sequence[str] = TARGETS
    """Layers of a block: query, key and value (each by itself), ``proj``, ``fc1``, ``fc2``."""
    first_block: int | None = None
    """First block that is adapted. None: 0 for LoRA, a third of all for SoMA (8 of 24, as
    published)."""
    bias: bool | None = None
    """Whether the layers' biases are trained. None: only with SoMA, as published."""
    components: str = "minor"
    """Singular components that SoMA trains: ``minor`` (published) or ``major``."""
    init_from: str = "pretrained"
    """``pretrained``: components of the loaded weights, as the paper writes; ``released``: of a
    newly drawn layer while W stays whole, as the released code does."""

    def __post_init__(self) -> None:
        for name, right, expected in (
            ("rank", self.rank >= 1, "at least 1"),
            ("targets", set(self.targets) <= set(TARGETS), f"some of {', '.join(TARGETS)}"),
            ("components", self.components in ("minor", "major"), "'minor' or 'major'"),
            ("init_from", self.init_from in ("pretrained", "released"), "'pretrained', 'released'"),
        ):
            if not right:
                raise UserError(
                    f"backbone.adapter.{name}={getattr(self, name)!r} is not possible.",
                    fix=f"Give {expected}.",
                )

    def starts_at(self, depth: int) -> int:
        """Index of the first adapted block of ``depth``."""
        if self.first_block is not None:
            return self.first_block
        return depth // 3 if self.type == "soma" else 0

    @property
    def trains_bias(self) -> bool:
        """Whether the layers' biases are trained."""
        return self.type == "soma" if self.bias is None else self.bias


class AdaptedLinear(nn.Linear):
    """A linear layer that computes with W + s·B·A.

    Made by :meth:`adapt` of a layer that exists. ``weight`` is the sum, so that whoever reads it
    instead of calling the layer (timm's EVA attention does) is adapted, too; the parameter under
    that name in ``state_dict`` and ``parameters`` is W alone. Joint projections have a pair (A, B)
    for each part, on its rows.

    Attributes:
        lora_A: (parts, r, i).
        lora_B: (parts, o, r).
    """

    lora_A: nn.Parameter
    lora_B: nn.Parameter
    options: LowRankOptions
    rows: tuple[int, ...]

    @staticmethod
    def adapt(
        layer: nn.Linear, options: LowRankOptions, parts: int = 1, adapted: Sequence[int] = (0,)
    ) -> AdaptedLinear:
        """Turns a layer into an adapted one, in place; what it computes stays the same.

        Args:
            layer: The layer.
            options: Rank and scale.
            parts: Equal row slices of the weight.
            adapted: Those that are adapted.
        """
        rows = layer.out_features // parts
        rank = min(options.rank, rows, layer.in_features)
        new = {"device": layer.weight.device, "dtype": layer.weight.dtype}
        layer.__class__ = AdaptedLinear
        assert isinstance(layer, AdaptedLinear)
        layer.options, layer.rows = options, (parts, *adapted)
        layer.lora_A = nn.Parameter(torch.empty(len(adapted), rank, layer.in_features, **new))
        layer.lora_B = nn.Parameter(torch.zeros(len(adapted), rows, rank, **new))
        for part in layer.lora_A:
            nn.init.kaiming_uniform_(part, a=math.sqrt(5))
        return layer

    @property
    def scale(self) -> float:
        """s; the rank is the asked one, also where the layer is too small for it."""
        return self.options.alpha / self.options.rank

    @property
    def takes_components(self) -> bool:
        """Whether W loses what A and B start with."""
        return self.options.type == "soma" and self.options.init_from == "pretrained"

    @property
    def delta(self) -> Tensor:
        """s·B·A, (o, i): 0 in rows that are not adapted."""
        parts, *adapted = self.rows
        change = self.scale * torch.bmm(self.lora_B, self.lora_A)
        if parts == len(adapted):
            return change.flatten(0, 1)
        pieces: list[Tensor] = [torch.zeros_like(change[0])] * parts
        for index, part in zip(adapted, change, strict=True):
            pieces[index] = part
        return torch.cat(pieces)

    @property
    def frozen_weight(self) -> nn.Parameter:
        """W."""
        weight = self._parameters["weight"]
        assert weight is not None
        return weight

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """(out, in): W + s·B·A."""
        return self.frozen_weight + self.delta

    @torch.no_grad()
    def start(self) -> None:
        """Gives A and B their first values, once W has been loaded."""
        nn.init.zeros_(self.lora_B)
        for part in self.lora_A:
            nn.init.kaiming_uniform_(part, a=math.sqrt(5))
        if self.options.type != "soma":
            return
        parts, *adapted = self.rows
        slices = self.frozen_weight.view(parts, -1, self.in_features)
        for place, index in enumerate(adapted):
            weight = slices[index]
            if self.options.init_from == "released":
                weight = nn.Linear(self.in_features, weight.shape[0]).weight
            down, up = singular_components(
                weight, self.lora_A.shape[1], self.scale, self.options.components
            )
            self.lora_A[place].copy_(down)
            self.lora_B[place].copy_(up)
        if self.takes_components:
            self.frozen_weight.sub_(self.delta)

    @torch.no_grad()
    def merge(self) -> nn.Linear:
        """A plain layer again, with W + s·B·A as its weight."""
        self.frozen_weight.copy_(self.weight)
        del self.lora_A, self.lora_B
        self.__class__ = nn.Linear  # type: ignore[assignment]
        return self


def singular_components(
    weight: Tensor, rank: int, scale: float, components: str = "minor"
) -> tuple[Tensor, Tensor]:
    """A and B whose product times ``scale`` is a part of a weight (SoMA, Sec. 3).

    With W = U·diag(S)·Vᵀ and σ the chosen values of S divided by the scale, A is diag(√σ)·Vᵀ and B
    is U·diag(√σ). Signs of singular vectors are free.

    Args:
        weight: (o, i).
        rank: Number of components.
        scale: s.
        components: ``minor``: the smallest; ``major``: the largest.

    Returns:
        (rank, i) and (o, rank), of the weight's type and device.
    """
    u, values, vt = torch.linalg.svd(weight.detach().cpu().float(), full_matrices=False)
    chosen = slice(-rank, None) if components == "minor" else slice(rank)
    roots = (values[chosen] / scale).sqrt()
    down, up = roots[:, None] * vt[chosen], u[:, chosen] * roots
    return down.to(weight), up.to(weight)


def adapt_blocks(blocks: Sequence[nn.Module], options: LowRankOptions) -> None:
    """Adapts the layers of timm's transformer blocks that the options name, in place.

    All parameters but A, B and, where asked, the layers' biases lose their gradient.

    Args:
        blocks: An encoder's blocks.
        options: What is adapted.
    """
    for block in list(blocks)[options.starts_at(len(blocks)) :]:
        attention, mlp = block.attn, block.mlp
        layers = list(_targets(attention, mlp, options.targets))
        for layer, parts, adapted in layers:
            AdaptedLinear.adapt(layer, options, parts, adapted)
            if options.trains_bias and layer.bias is not None:
                layer.bias.requires_grad_(True)
        separate = {"q": "q_bias", "v": "v_bias"}
        for target, name in separate.items():
            bias = getattr(attention, name, None)
            if options.trains_bias and bias is not None and target in options.targets:
                bias.requires_grad_(True)


def _targets(
    attention: nn.Module, mlp: nn.Module, targets: Sequence[str]
) -> Iterator[tuple[nn.Linear, int, Sequence[int]]]:
    """Layers, the number of their parts, and the parts that are adapted."""
    wanted = [i for i, name in enumerate(PROJECTIONS) if name in targets]
    joint = getattr(attention, "qkv", None)
    if isinstance(joint, nn.Linear) and wanted:
        yield joint, len(PROJECTIONS), wanted
    for name, layer in [*attention.named_children(), *mlp.named_children()]:
        # q_proj and the like where projections are separate; fc1_g and fc1_x of gated networks
        target = name.removesuffix("_proj") if name != "proj" else name
        target = target.removesuffix("_g").removesuffix("_x")
        if isinstance(layer, nn.Linear) and target in targets:
            yield layer, 1, (0,)
