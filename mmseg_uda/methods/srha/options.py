"""Options of SRHA's trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmseg_uda.engine.options import Options
from mmseg_uda.methods.srha.alignment import LAYERS, LEVELS, WEIGHTS


@dataclass(frozen=True)
class SrhaOptions(Options):
    """Options of :class:`SRHA`; defaults are the published values."""

    rearrangement: bool = True
    """Whether images get a copy at all. Without, there is no consistency, and images are
    compared with themselves."""
    concentration: float = 0.0156
    """α of the Dirichlet distribution that mixes styles (published: 0.0156)."""
    ignore_as_region: bool = True
    """Whether unlabelled pixels are a region like any other, in the rearrangement and in the
    regional alignment."""
    alignment_levels: Sequence[str] = LEVELS
    """Some of ``global``, ``regional``, ``local``; none: no alignment."""
    alignment_layers: Sequence[int] = LAYERS
    """Numbers of the encoder's stages that are compared."""
    alignment_weights: Sequence[float] | Mapping[str, Sequence[float]] = WEIGHTS
    """Factor per stage, or by level one list each; 0 leaves a stage out."""
    consistency_weight: float = 10.0
    """Factor on the Jensen–Shannon divergence; 0 switches it off."""
    teacher_inputs: str = "shared"
    """What the ImageNet network sees beside the originals, for the statistics of its BatchNorm:
    the student's copies (``shared``), copies with weights of their own (``independent``, as
    published), or nothing (``original``)."""
    teacher_bn: str = "batch"
    """``batch`` (published), or ``running`` statistics, those of ImageNet."""
    alpha: float = 1.0
    """Decay of an average of the student that takes the ImageNet network's place after the
    first step; 1 (published) keeps the ImageNet network."""

    def check(self) -> None:
        """Raises a ``UserError`` for values that cannot work; levels are checked by their loss."""
        self.require_choice("teacher_inputs", ("shared", "independent", "original"))
        self.require_choice("teacher_bn", ("batch", "running"))
        self.require("concentration", self.concentration > 0, "a concentration above 0")
        self.require("alpha", 0 <= self.alpha <= 1, "an alpha in [0, 1]")
