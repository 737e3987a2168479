"""Options of SSDA's component and of the groups inside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmseg_uda.engine.options import Options
from mmseg_uda.errors import UserError
from mmseg_uda.methods.ssda.crf import GATE_RULES, Kernel
from mmseg_uda.methods.ssda.seeds import ABSENT, SCOPES, TIES

KEY = "uda.subdomains"
SOURCES = ("auto", "none", "scale_views", "mc_dropout", "repeat")
PSEUDO_FROM = ("deterministic", "first", "mean")
RGB_SPACES = ("unit", "zscore")
PRIORS = ("gta_pycda", "source_stats")
QUOTAS = ("balanced", "constant")
WEIGHT_MAPS = ("unmixed", "mixed_alias")


@dataclass(frozen=True)
class UncertaintyOptions(Options):
    """Which predictions are compared to tell how sure the teacher is of a pixel."""

    KEY = f"{KEY}.uncertainty"

    source: str = "auto"
    """``scale_views``: HRDA's fused, context and detail predictions of one pass;
    ``mc_dropout``: T dropout masks before the classifier, the encoder runs once; ``repeat``: T
    whole passes (parity and debugging); ``none``: every pixel equally sure. ``auto`` (default)
    is scale_views for HRDA, else mc_dropout."""
    passes: int = 8
    """T of mc_dropout and repeat. The released code repeats 2 identical passes."""
    dropout: float | None = None
    """Dropout rate of mc_dropout; None is the decoder's own. DeepLabV2's decoder has none, for
    which 0.1 is a choice."""
    attenuated_lr: bool = False
    """The context view is multiplied by one minus attention."""
    at: str = "image"
    """``image``: compare at image resolution, as published; ``stride``: at the decoder's, and
    enlarge the result (cheaper, not the same)."""
    enable_dropout: bool = False
    """Dropout of the network is active in repeat."""
    enable_droppath: bool = False
    """Stochastic depth of the network is active in repeat."""

    def check(self) -> None:
        """Raises a ``UserError`` for values that cannot work."""
        self.require_choice("source", SOURCES)
        self.require("passes", self.passes >= 2, "at least 2")
        rate = self.dropout
        self.require("dropout", rate is None or 0 <= rate < 1, "a rate in [0, 1), or None")
        self.require_choice("at", ("image", "stride"))


@dataclass(frozen=True)
class CrfOptions(Options):
    """The truncated CRF loss; see :func:`mmseg_uda.methods.ssda.truncated_crf_loss`."""

    KEY = f"{KEY}.crf"

    radius: int = 5
    """R of the window in cells."""
    sigma_xy: float = 3.0
    """Standard deviation of the position in cells."""
    sigma_rgb: float = 0.1
    """Of the colour, in the units of ``rgb_space``. The released code says 0.005 on normalised
    images, which sees equal colours only; 0.1 is ours."""
    weight: float = 1.0
    """Factor of the kernel (κ)."""
    rgb_space: str = "unit"
    """``unit``: RGB in [0, 1]; ``zscore``: as the network sees it."""
    resolution: str | float | Sequence[int] = "native"
    """Grid on which the loss is computed: ``native`` (the decoder's), a factor on it, or
    (height, width) in cells."""
    gate: str = "full_block"
    """How seeds become cells: ``full_block``, ``half_block`` or ``nearest``."""
    detach_source: bool = False
    """Seeds get no gradient."""
    respect_valid: bool = True
    """Pixels without valid pseudo-label take no part (the released code knows no such
    pixels)."""

    def check(self) -> None:
        """Raises a ``UserError`` for values that cannot work."""
        self.require("radius", self.radius >= 1, "at least 1 cell")
        self.require("sigma_xy", self.sigma_xy > 0, "a number above 0")
        self.require("sigma_rgb", self.sigma_rgb > 0, "a number above 0")
        self.require_choice("rgb_space", RGB_SPACES)
        self.require_choice("gate", GATE_RULES)
        right = self.resolution == "native" or _is_size(self.resolution)
        self.require("resolution", right, "'native', a factor above 0, or (height, width)")

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


@dataclass(frozen=True)
class SubdomainOptions(Options):
    """Options of :class:`DynamicSubdomains`; defaults are those of the preset ``ssda``."""

    KEY = KEY

    uncertainty: Mapping[str, Any] | None = None
    """Which predictions are compared; see
    :class:`mmseg_uda.methods.ssda.options.UncertaintyOptions`."""
    pseudo_from: str = "deterministic"
    """Prediction behind the pseudo-labels of the whole step: ``deterministic``, ``first`` or
    ``mean`` of the compared ones."""
    class_prior: str | Sequence[float] = "gta_pycda"
    """Pixel frequency of each class in the source: numbers, ``gta_pycda`` (the published table
    for 19 classes, which the released code uses for every source) or ``source_stats`` (counted
    in the configured source)."""
    absent_class: str = "none"
    """Classes that the source lacks: ``none`` of their pixels are seeds, or ``all`` (the
    released formula)."""
    beta: float = 0.1
    """β of the quota."""
    quota: str | float = "balanced"
    """``balanced``: by class, as published; ``constant``: the balanced quotas' mean under the
    prior for every class; or a number in (0, 1] for every class. Classes that have no seeds by
    ``absent_class`` have none either way."""
    min_pixels: int = 10
    """A class needs more pixels than this to have seeds."""
    scope: str = "batch"
    """Classes are counted over the ``batch`` (released code) or by ``image``."""
    ties: str = "include"
    """Pixels as uncertain as the last seed: ``include`` (released code) or ``exclude``."""
    quota_valid_only: bool = False
    """Pixels without valid pseudo-label neither count nor become seeds."""
    target_weight: float = 0.01
    """τ, factor on all losses; 0.01 is the only value known from a run."""
    seed_loss_weight: float = 1.0
    """λ0, factor on the seed loss of the main prediction."""
    branch_seed_loss: bool = True
    """Whether HRDA's detail prediction and auxiliary heads learn the seeds; λ0 is not on them,
    as in the released code."""
    uncertainty_loss_weight: float = 0.0
    """λ1, factor on the mean uncertainty."""
    uncertainty_grad: bool = False
    """Use the student's own uncertainty in the loss, with its gradient (experimental).
    Otherwise it is the teacher's, a constant."""
    crf_loss_weight: float = 0.1
    """λ2, factor on the truncated CRF loss."""
    crf: Mapping[str, Any] | None = None
    """See :class:`mmseg_uda.methods.ssda.options.CrfOptions`."""
    weight_map: str = "unmixed"
    """Weight of a seed: ``unmixed``: the pseudo-label's; ``mixed_alias``: 1 under pixels that
    were pasted on the mixed image, a mistake of the released code."""
    use_confidence_weight: bool = True
    """Weigh by the pseudo-label's weight (confidence share, margins and other components'
    edits); else by the margins alone."""
    debug_interval: int = 1000
    """Steps between logs of the seed ratio of each class; 0 for never."""

    def check(self) -> None:
        """Raises a ``UserError`` for values that cannot work."""
        self.require_choice("pseudo_from", PSEUDO_FROM)
        self.require_choice("absent_class", ABSENT)
        self.require_choice("scope", SCOPES)
        self.require_choice("ties", TIES)
        self.require_choice("weight_map", WEIGHT_MAPS)
        if isinstance(self.class_prior, str):
            self.require_choice("class_prior", PRIORS)
        if isinstance(self.quota, str):
            self.require_choice("quota", QUOTAS)
        else:
            self.require("quota", 0 < self.quota <= 1, "a share in (0, 1]")
        self.require("beta", self.beta > 0, "a number above 0")
        for name in (
            *("min_pixels", "debug_interval", "target_weight", "seed_loss_weight"),
            *("uncertainty_loss_weight", "crf_loss_weight"),
        ):
            self.require(name, getattr(self, name) >= 0, "at least 0")
        if self.uncertainty_grad and not self.uncertainty_loss_weight:
            raise UserError(
                f"{KEY}.uncertainty_grad=True has no effect on a loss of weight 0.",
                fix=f"Set {KEY}.uncertainty_loss_weight above 0, or uncertainty_grad=False.",
            )


def _is_size(value: Any) -> bool:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value > 0
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) == 2
        and all(isinstance(side, int) and side > 0 for side in value)
    )
