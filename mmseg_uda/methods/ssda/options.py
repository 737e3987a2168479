"""Options of dynamic subdomains that are groups of their own in a config, checked when built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mmseg_uda.engine.options import check_options
from mmseg_uda.errors import UserError
from mmseg_uda.methods.ssda.crf import GATE_RULES, Kernel

KEY = "uda.subdomains"
SOURCES = ("auto", "none", "scale_views", "mc_dropout", "repeat")
PSEUDO_FROM = ("deterministic", "first", "mean")
RGB_SPACES = ("unit", "zscore")

Group = TypeVar("Group")


@dataclass(frozen=True)
class UncertaintyOptions:
    """Which predictions are compared to tell how sure the teacher is of a pixel.

    Attributes:
        source: ``scale_views``: HRDA's fused, context and detail predictions of one pass;
            ``mc_dropout``: T dropout masks before the classifier, the encoder runs once;
            ``repeat``: T whole passes (parity and debugging); ``none``: every pixel equally
            sure. ``auto`` (default) is scale_views for HRDA, else mc_dropout.
        passes: T of mc_dropout and repeat. The released code repeats 2 identical passes.
        dropout: Dropout rate of mc_dropout; None is the decoder's own. DeepLabV2's decoder has
            none, for which 0.1 is a choice.
        attenuated_lr: The context view is multiplied by one minus attention.
        at: ``image``: compare at image resolution, as published; ``stride``: at the
            decoder's, and enlarge the result (cheaper, not the same).
        enable_dropout: Dropout of the network is active in repeat.
        enable_droppath: Stochastic depth of the network is active in repeat.
    """

    source: str = "auto"
    passes: int = 8
    dropout: float | None = None
    attenuated_lr: bool = False
    at: str = "image"
    enable_dropout: bool = False
    enable_droppath: bool = False

    def __post_init__(self) -> None:
        key = f"{KEY}.uncertainty"
        check(f"{key}.source", self.source, self.source in SOURCES, one_of(SOURCES))
        check(f"{key}.passes", self.passes, self.passes >= 2, "at least 2")
        rate = self.dropout
        check(f"{key}.dropout", rate, rate is None or 0 <= rate < 1, "in [0, 1), or None")
        check(f"{key}.at", self.at, self.at in ("image", "stride"), "'image' or 'stride'")


@dataclass(frozen=True)
class CrfOptions:
    """The truncated CRF loss; see :func:`mmseg_uda.methods.ssda.truncated_crf_loss`.

    Attributes:
        radius: R of the window in cells.
        sigma_xy: Standard deviation of the position in cells.
        sigma_rgb: Of the colour, in the units of ``rgb_space``. The released code says 0.005 on
            normalised images, which sees equal colours only; 0.1 is ours.
        weight: Factor of the kernel (κ).
        rgb_space: ``unit``: RGB in [0, 1]; ``zscore``: as the network sees it.
        resolution: Grid on which the loss is computed: ``native`` (the decoder's), a factor on
            it, or (height, width) in cells.
        gate: How seeds become cells: ``full_block``, ``half_block`` or ``nearest``.
        detach_source: Seeds get no gradient.
        respect_valid: Pixels without valid pseudo-label take no part (the released code knows
            no such pixels).
    """

    radius: int = 5
    sigma_xy: float = 3.0
    sigma_rgb: float = 0.1
    weight: float = 1.0
    rgb_space: str = "unit"
    resolution: str | float | Sequence[int] = "native"
    gate: str = "full_block"
    detach_source: bool = False
    respect_valid: bool = True

    def __post_init__(self) -> None:
        key = f"{KEY}.crf"
        check(f"{key}.radius", self.radius, self.radius >= 1, "at least 1 cell")
        check(f"{key}.sigma_xy", self.sigma_xy, self.sigma_xy > 0, "above 0")
        check(f"{key}.sigma_rgb", self.sigma_rgb, self.sigma_rgb > 0, "above 0")
        check(f"{key}.rgb_space", self.rgb_space, self.rgb_space in RGB_SPACES, one_of(RGB_SPACES))
        check(f"{key}.gate", self.gate, self.gate in GATE_RULES, one_of(GATE_RULES))
        right = self.resolution == "native" or _is_size(self.resolution)
        expected = "'native', a factor above 0, or (height, width)"
        check(f"{key}.resolution", self.resolution, right, expected)

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The one joint kernel of position and colour."""
        return (Kernel({"xy": self.sigma_xy, "rgb": self.sigma_rgb}, self.weight),)

    def size(self, native: Sequence[int]) -> tuple[int, int]:
        """Height and width of the grid for logits of ``native`` size."""
        if self.resolution == "native":
            return native[0], native[1]
        if isinstance(self.resolution, (int, float)):
            height, width = (max(round(side * self.resolution), 1) for side in native)
            return height, width
        height, width = (int(side) for side in self.resolution)
        return height, width


def read_group(cls: type[Group], config: Mapping[str, Any] | None, where: str) -> Group:
    """Build a group of options.

    Raises:
        UserError: For an unknown key or an impossible value.
    """
    config = dict(config or {})
    check_options(cls, config, where)
    return cls(**config)


def check(key: str, value: Any, right: bool, expected: str) -> None:
    """Raise unless ``right``.

    Raises:
        UserError: Names the option, its value and what is expected.
    """
    if not right:
        raise UserError(f"{key}={value!r} is not possible.", f"Expected: {expected}.")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise unless the option ``name`` of the component is one of the choices.

    Raises:
        UserError: Names the option and the choices.
    """
    check(f"{KEY}.{name}", value, value in choices, one_of(choices))


def one_of(choices: Iterable[str]) -> str:
    """The choices as text."""
    return f"one of {', '.join(choices)}"


def _is_size(value: Any) -> bool:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value > 0
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) == 2
        and all(isinstance(side, int) and side > 0 for side in value)
    )
