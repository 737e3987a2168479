"""Options of CSI's component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmseg_uda.engine.options import Options
from mmseg_uda.methods.csi.boxes import NMS_MODES
from mmseg_uda.methods.csi.mapping import OFF, Phases, read_phases
from mmseg_uda.methods.csi.relabel import PASTE_MODES
from mmseg_uda.methods.csi.scoring import CLIP_SCORES
from mmseg_uda.taxonomy import Taxonomy


@dataclass(frozen=True)
class RelabelOptions(Options):
    """Options of :class:`TaxonomyRelabeling`; defaults are those of CSI's published runs."""

    KEY = "uda.relabel"

    mapping: Sequence[Mapping[str, Any]]
    """New classes in prompt order; see :func:`mmseg_uda.methods.csi.mapping.read_mapping`."""
    collect: Sequence[int] = OFF
    """[start, end) in steps: count what verified boxes of entries without a source are covered
    with. At ``end`` the most frequent class of the super-category becomes the source, or the entry
    is dropped."""
    relabel: Sequence[int] = OFF
    """[start, end) in steps: edit labels. (-1, -1) switches the method off; no model is built
    then."""
    taxonomy: str | Taxonomy | None = None
    """Name or file of the label space; None takes the host's."""
    detector: Mapping[str, Any] | None = None
    """Config of a detector, OWL-ViT if absent."""
    classifier: Mapping[str, Any] | None = None
    """Config of a crop classifier, CLIP ViT-B/32 if absent."""
    nms: str = "agnostic"
    """``agnostic`` (published) or ``class``: whether boxes of different new classes compete."""
    nms_iou: float = 0.3
    """IoU above which the weaker box is dropped."""
    paste: str = "rect"
    """``rect`` (published) or ``masked``. Masked is recommended: with rect, overlapping boxes undo
    each other's edits."""
    clip_score: str = "max_prompt"
    """``max_prompt`` (published) or ``sum_class``, which does not punish classes with many
    phrases."""
    min_box: int = 10
    """Shortest side of a box in pixels."""
    candidate_ratio: float = 0.5
    """Share of a box that a class must exceed to be counted while collecting."""
    fallback_runner_up: bool = False
    """When the most frequent class is the new class itself, take the next one instead of dropping
    the entry."""
    crop_mode: str | None = None
    """``center``, ``square_pad`` or ``stretch``; None takes the classifier's own, ``center`` for
    CLIP (published: long boxes lose their ends)."""
    preprocess: str = "pil8"
    """``pil8`` (published) or ``tensor`` (on the device, without a further wait)."""
    vlm_dtype: str = "fp32"
    """``fp32`` (published), ``bf16`` or ``fp16`` for the towers of both models."""
    clip_chunk: int = 128
    """Crops per forward pass of the classifier."""
    every_n: int = 1
    """Work only in every n-th step; labels stay as they are in the others."""
    bank_capacity: int = 0
    """Relabelled patches of each new class to keep for debug pictures."""

    def check(self) -> None:
        """Raises a ``UserError`` for values that cannot work."""
        read_phases(self.collect, self.relabel)
        self.require_choice("nms", NMS_MODES)
        self.require("nms_iou", 0 <= self.nms_iou <= 1, "a number in [0, 1]")
        self.require_choice("paste", PASTE_MODES)
        self.require_choice("clip_score", CLIP_SCORES)
        self.require("min_box", self.min_box >= 1, "at least 1 pixel")
        self.require("candidate_ratio", 0.5 <= self.candidate_ratio < 1, "0.5 or more, below 1")
        self.require("every_n", self.every_n >= 1, "at least 1")
        self.require("bank_capacity", self.bank_capacity >= 0, "0 (off) or more")

    @property
    def phases(self) -> Phases:
        """The two ranges of steps."""
        return read_phases(self.collect, self.relabel)
