"""Soft labels for classes that the pseudo-label lacks, and the loss against them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_uda.methods.cdda.histogram import BINS

TRIGGERS = ("any", "last")
SCOPES = ("batch", "flagged")


def missing_classes(bank: Tensor, target: Tensor) -> Tensor:
    """(B, C) bool: classes that the bank crop has and the target lacks, from (B, C, K) counts."""
    return (target.sum(-1) == 0) & (bank.sum(-1) > 0)


def class_probability(bank: Tensor, missing: Tensor, max_prob: float = 0.99999) -> Tensor:
    """Probability of each missing class given the depth, as measured on the bank crop.

    ``w[c, k] = S[c, k] / sum_c' S[c', k]`` for the missing classes, 0 for the others and for
    depths that do not occur.

    Args:
        bank: (B, C, K) counts S of the matched crops.
        missing: (B, C) bool.
        max_prob: Replaces probabilities of 1.

    Returns:
        (B, C, K) float64.
    """
    bank = bank.double()
    pixels = bank.sum(1, keepdim=True)
    probability = bank / pixels.clamp(min=1)
    probability = torch.where(probability >= 1, max_prob, probability)
    return torch.where(missing[..., None], probability, 0)


def depth_bins(depth: Tensor, valid: Tensor | None = None, number: int = BINS) -> Tensor:
    """The bin of a depth in [0, 256), or ``number`` where it is in none or not ``valid``.

    Args:
        depth: (B, H, W) floating point or integers.
        valid: (B, H, W) bool, or None for all pixels.
        number: Of bins of equal width, a divisor of 256.

    Returns:
        (B, H, W) int64 in [0, ``number``]; floor(depth) with 256 bins.
    """
    bins = (depth.floor() if depth.is_floating_point() else depth).long()
    outside = (bins < 0) | (bins > BINS)
    bins = torch.where(outside if valid is None else outside | ~valid, BINS, bins)
    return bins // (BINS // number)


def soft_label(label: Tensor, bins: Tensor, table: Tensor) -> Tensor:
    """The dense soft label, for inspection; the loss does without it.

    Args:
        label: (B, H, W) int64 pseudo-labels.
        bins: (B, H, W) int64 as :func:`depth_bins` returns.
        table: (B, C, K), as :func:`class_probability` returns.

    Returns:
        (B, C, H, W), sums to 1: the missing classes' probabilities at the pixel's depth, and what
        remains for the pseudo-label's class.
    """
    rows = F.pad(table, (0, 1))
    index = bins.flatten(1)[:, None].expand(-1, table.shape[1], -1)
    mass = rows.gather(2, index).view(*table.shape[:2], *bins.shape[1:])
    rest = 1 - mass.sum(1, keepdim=True)
    return mass.scatter_add(1, label[:, None], rest)


def guidance_loss(
    logits: Tensor,
    label: Tensor,
    bins: Tensor,
    table: Tensor,
    share: Tensor,
    weight: float = 0.1,
    valid: Tensor | None = None,
    classes: Sequence[int] | None = None,
) -> Tensor:
    """Cross-entropy against the soft label, without ever building it.

    ``mean over all pixels of weight * share * (base[k] * -log p_y + sum_c w[c, k] * -log p_c)``
    with ``base = 1 - sum_c w``.

    Args:
        logits: (B, C, H, W) at label resolution.
        label: (B, H, W) int64 pseudo-labels.
        bins: (B, H, W) int64 as :func:`depth_bins` returns.
        table: (B, C, K), as :func:`class_probability` returns.
        share: (B,), share of confident pixels.
        weight: Factor.
        valid: (B, H, W) factor per pixel, or (B, 1, 1) per image; the mean stays over all pixels.
        classes: The classes that ``table`` is not 0 for, if the host knows; None: all.

    Returns:
        0-dim float32.
    """
    surprise = -torch.log_softmax(logits.float(), dim=1)
    flat = bins.flatten(1)

    def at_depth(row: Tensor, elsewhere: float = 0) -> Tensor:
        # One column more for depths in no bin.
        padded = F.pad(row, (0, 1), value=elsewhere)
        return padded.float().gather(1, flat).view_as(bins)

    base = at_depth(1 - table.sum(1), elsewhere=1)
    per_pixel = base * surprise.gather(1, label[:, None]).squeeze(1)
    for c in range(table.shape[1]) if classes is None else classes:
        per_pixel = per_pixel + at_depth(table[:, c]) * surprise[:, c]
    factor = (weight * share).view(-1, 1, 1)
    if valid is not None:
        factor = factor * valid
    return (factor * per_pixel).mean()


def overlaps(table: Tensor, pixels: Tensor) -> Tensor:
    """Which missing classes get any mass in the target.

    Args:
        table: (B, C, K), as :func:`class_probability` returns.
        pixels: (B, K), the target's pixels per depth bin.

    Returns:
        (B, C) bool.
    """
    return ((table > 0) & (pixels[:, None] > 0)).any(-1)


def triggered(missing: Tensor, overlap: Tensor, trigger: str = "any") -> Tensor:
    """Whether the guidance pass runs.

    Args:
        missing: (B, C) bool, missing classes of the flagged images, False in the others.
        overlap: (B, C) bool, see :func:`overlaps`.
        trigger: ``any``: some missing class overlaps. ``last``: the last missing class of the last
            image that misses one does, which is how CDDA's released code decides.

    Returns:
        0-dim bool.
    """
    hit = (missing & overlap).flatten()
    if trigger == "any":
        return hit.any()
    order = torch.arange(1, hit.numel() + 1, device=hit.device)
    last = torch.where(missing.flatten(), order, 0).max()
    return (hit & (order == last)).any()
