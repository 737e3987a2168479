"""What a match leads to: on the device, and the part of it that the host acts on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmseg_uda.methods.cdda.guidance import (
    class_probability,
    missing_classes,
    overlaps,
    triggered,
)
from mmseg_uda.methods.cdda.search import Match


@dataclass(frozen=True)
class Decision:
    """Consequences of the matches of a batch, where the search ran.

    Attributes:
        similar: (B,) bool, the score exceeds the threshold of reweighting and replacement.
        flagged: (B,) bool, it exceeds the threshold of guidance.
        missing: (B, C) bool, classes that a flagged image lacks and its match has.
        table: (B, C, K) float64, their probability by depth; see ``class_probability``.
        guided: 0-dim bool, whether the guidance pass runs.
    """

    similar: Tensor
    flagged: Tensor
    missing: Tensor
    table: Tensor
    guided: Tensor


@dataclass(frozen=True)
class HostDecision:
    """The same as plain numbers, for what the host does.

    Attributes:
        entries: Best entry per image.
        scores: Its score.
        similar: See :class:`Decision`.
        missing: Classes that any flagged image misses.
        guided: See :class:`Decision`.
    """

    entries: Sequence[int]
    scores: Sequence[float]
    similar: Sequence[bool]
    missing: Sequence[int]
    guided: bool


def decide(
    match: Match,
    pixels: Tensor,
    thresholds: tuple[float, float],
    trigger: str = "any",
    max_prob: float = 0.99999,
    exact_pixels: Tensor | None = None,
) -> Decision:
    """Applies the thresholds, which a score must exceed, and finds the missing classes.

    Args:
        match: Of B images.
        pixels: (B, C, K) counts of the targets, on the match's device.
        thresholds: Of reweighting and replacement, and of guidance.
        trigger: See ``triggered``. With ``last`` a missing class that does not overlap gets no
            mass, as in the released code.
        max_prob: See ``class_probability``.
        exact_pixels: (B, K), pixels whose depth equals the bin; for ``last``.
    """
    similar, flagged = (match.score > t for t in thresholds)
    missing = missing_classes(match.counts, pixels) & flagged[:, None]
    table = class_probability(match.counts, missing, max_prob)
    overlap = overlaps(table, pixels.sum(1) if exact_pixels is None else exact_pixels)
    if trigger == "last":
        table = torch.where(overlap[..., None], table, 0)
    return Decision(similar, flagged, missing, table, triggered(missing, overlap, trigger))


def read_decision(match: Match, decision: Decision) -> HostDecision:
    """Copies to the host what it acts on, at once: the one wait for the device."""
    union = decision.missing.any(0)
    parts = (match.index, match.score, decision.similar, union, decision.guided[None])
    packed = torch.cat([part.double() for part in parts]).tolist()
    batch, classes = len(match.index), len(union)
    sizes = (batch, batch, batch, classes, 1)
    values, start = [], 0
    for size in sizes:
        values.append(packed[start : start + size])
        start += size
    entries, scores, similar, missing, (guided,) = values
    return HostDecision(
        entries=[int(e) for e in entries],
        scores=scores,
        similar=[bool(s) for s in similar],
        missing=[c for c, present in enumerate(missing) if present],
        guided=bool(guided),
    )
