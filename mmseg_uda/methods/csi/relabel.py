"""Editing labels inside boxes, and finding out which class to edit (CSI, Sec. 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmseg_uda.engine.transfer import to_device

PASTE_MODES = ("rect", "masked")
#: Order of appearance of what never appeared.
NEVER = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Region:
    """A box that may be relabelled; plain numbers on the host.

    Attributes:
        image: Index in the batch.
        x0, y0, x1, y1: Half-open pixels, not empty.
        entry: Entry of the relabelling map.
        score: The detector's; only shown.
    """

    image: int
    x0: int
    y0: int
    x1: int
    y1: int
    entry: int
    score: float = math.nan

    def of(self, label: Tensor) -> Tensor:
        """The view of (B, H, W) labels inside the box."""
        return label[self.image, self.y0 : self.y1, self.x0 : self.x1]

    @property
    def area(self) -> int:
        """Number of pixels."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)


def paste(
    label: Tensor,
    regions: Sequence[Region],
    accepted: Tensor,
    sources: Sequence[int],
    targets: Sequence[int],
    mode: str = "rect",
) -> Tensor:
    """Rewrites source-class pixels to the target class inside accepted boxes.

    Args:
        label: (B, H, W) int64; left untouched.
        regions: n boxes in writing order (weakest first, per image).
        accepted: (n,) bool on the labels' device.
        sources: Class to replace, per entry.
        targets: Class to write, per entry.
        mode: ``rect``: the whole rectangle is overwritten with the edited crop of the original
            map, as published, which restores original labels where an earlier box had changed
            them; ``masked``: only source-class pixels of the original map are written.

    Returns:
        (B, H, W) int64, ``label`` itself when there is no box.
    """
    if not regions:
        return label
    edited = label.clone()
    for i, region in enumerate(regions):
        before, now = region.of(label), region.of(edited)
        hit = before == sources[region.entry]
        target = targets[region.entry]
        if mode == "rect":
            new = torch.where(accepted[i], before.masked_fill(hit, target), now)
        else:
            new = now.masked_fill(hit & accepted[i], target)
        now.copy_(new)
    return edited


def majority_classes(
    label: Tensor, regions: Sequence[Region], num_classes: int, ratio: float = 0.5
) -> Tensor:
    """The class that covers more than ``ratio`` of each box.

    Args:
        label: (B, H, W) int64; values of ``num_classes`` and more belong to no class.
        regions: n boxes.
        num_classes: C.
        ratio: Share that must be exceeded, at least 0.5 so that at most one class does.

    Returns:
        (n,) int64 class ids, ``num_classes`` where no class covers enough.
    """
    if not regions:
        return torch.zeros(0, dtype=torch.int64, device=label.device)
    found = []
    for region in regions:
        pixels = region.of(label).flatten().clamp(max=num_classes)
        counts = torch.zeros(num_classes + 1, dtype=torch.int64, device=label.device)
        counts = counts.scatter_add(0, pixels, torch.ones_like(pixels))[:num_classes]
        count, best = counts.max(dim=0)
        found.append(torch.where(count > ratio * region.area, best, num_classes))
    return torch.stack(found)


def count_majorities(
    label: Tensor,
    regions: Sequence[Region],
    accepted: Tensor,
    entries: int,
    num_classes: int,
    step: int,
    ratio: float = 0.5,
) -> tuple[Tensor, Tensor]:
    """How many accepted boxes each class covers, and when the first one was seen.

    Args:
        label: (B, H, W) int64.
        regions: n boxes.
        accepted: (n,) bool on the labels' device; the others are not counted.
        entries: E, number of entries of the relabelling map.
        num_classes: C.
        step: Completed optimizer steps.
        ratio: Share of a box that a class must exceed; see :func:`majority_classes`.

    Returns:
        (E, C) int64 counts, and (E, C) int64 order of appearance (:data:`NEVER` for none).
    """
    # What is not counted goes to the column after the last class.
    found = torch.zeros(entries * (num_classes + 1), dtype=torch.int64, device=label.device)
    first = torch.full_like(found, NEVER)
    if regions:
        majority = majority_classes(label, regions, num_classes, ratio)
        majority = torch.where(accepted, majority, num_classes)
        entry = to_device(torch.tensor([r.entry for r in regions]), label.device)
        cell = entry * (num_classes + 1) + majority
        found.scatter_add_(0, cell, torch.ones_like(cell))
        seen = step * 2**20 + torch.arange(len(regions), device=label.device)
        first.scatter_reduce_(0, cell, seen, "amin")
    counted, appeared = (t.view(entries, -1)[:, :num_classes] for t in (found, first))
    return counted.contiguous(), appeared.contiguous()


def resolve_source(
    counts: Sequence[int],
    first_seen: Sequence[int],
    allowed: Sequence[int],
    target: int,
    fallback_runner_up: bool = False,
) -> int | None:
    """The class that a new class was hidden in, from what verified boxes were covered with.

    Args:
        counts: (C,) boxes per majority class.
        first_seen: (C,) when each class was counted first; decides ties, earlier wins.
        allowed: Classes of the target's super-category.
        target: The new class.
        fallback_runner_up: Take the next class when the most frequent one is the target itself
            (the published code gives up then).

    Returns:
        A class id, or None when nothing usable was counted.
    """
    ranked = sorted(
        (c for c in allowed if counts[c] > 0), key=lambda c: (-counts[c], first_seen[c])
    )
    if fallback_runner_up:
        ranked = [c for c in ranked if c != target]
    return ranked[0] if ranked and ranked[0] != target else None
