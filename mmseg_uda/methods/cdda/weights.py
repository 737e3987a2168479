"""Pseudo-label weights as a function of how well each class matches."""

from __future__ import annotations

import torch
from torch import Tensor

from mmseg_uda.errors import UserError

MASKS = ("class", "first_row")


def ramp(similarity: Tensor, low: float = 0.1, high: float = 0.75) -> Tensor:
    """0 up to ``low``, 1 from ``high`` on, linear between; any shape."""
    return ((similarity - low) / (high - low)).clamp(0, 1)


def reweight(
    weight: Tensor,
    label: Tensor,
    confident: Tensor,
    similarity: Tensor,
    *,
    low: float = 0.1,
    high: float = 0.75,
    skip: Tensor | None = None,
    gate: Tensor | None = None,
    mask: str = "class",
) -> Tensor:
    """Replaces weights class by class.

    ========================  =======================================================
    similarity s of a class   weight of its pixels
    ========================  =======================================================
    s > high                  1 where confident; elsewhere as before
    low <= s <= high          (s - low) / (high - low)
    s < low                   0
    ========================  =======================================================

    Just above ``high`` only confident pixels are raised, just below it all are: as published.

    Args:
        weight: (B, H, W) float weights so far (the share of confident pixels).
        label: (B, H, W) int64 pseudo-labels in [0, C).
        confident: (B, H, W) bool.
        similarity: (B, C), of the target's classes to those of its match.
        low: Lower knot.
        high: Upper knot.
        skip: (C,) or (B, C) bool, classes that keep their weights.
        gate: (B,) bool, images that are reweighted at all; None: all.
        mask: ``class``: the pixels of a class are those with its label (CDDA's documentation and
            figure). ``first_row``: as CDDA's released code computes it, from the labels r of the
            image's first row alone. For each class in order, with s > high the confident pixels of
            the columns x with r[x] = c get 1; otherwise the whole rows i with r[i] = c get the
            value. Needs square images.

    Returns:
        (B, H, W), a new tensor.

    Raises:
        UserError: ``first_row`` with images that are not square.
    """
    batch, classes = similarity.shape
    value = ramp(similarity, low, high).to(weight.dtype)
    above = similarity > high
    keep = torch.zeros_like(above) if skip is None else skip.expand(batch, classes)
    if gate is not None:
        keep = keep | ~gate[:, None]
    if mask == "first_row":
        return _by_first_row(weight, label, confident, value, above, keep)
    flat = label.flatten(1)
    new = value.gather(1, flat).view_as(label)
    unless_confident = (above & ~keep).gather(1, flat).view_as(label)
    kept = keep.gather(1, flat).view_as(label) | (unless_confident & ~confident)
    return torch.where(kept, weight, new)


def _by_first_row(
    weight: Tensor, label: Tensor, confident: Tensor, value: Tensor, above: Tensor, keep: Tensor
) -> Tensor:
    height, width = label.shape[-2:]
    if height != width:
        raise UserError(
            f"uda.depth.reweight_mask='first_row' takes columns for rows, which crops of "
            f"{width}x{height} pixels do not allow.",
            fix="Use square crops, or reweight_mask='class'.",
        )
    first = label[:, 0]
    for c in range(value.shape[1]):
        columns = (first == c)[:, None, :] & confident
        rows = (first == c)[:, :, None]
        chosen = torch.where(above[:, c, None, None], columns, rows) & ~keep[:, c, None, None]
        weight = torch.where(chosen, value[:, c, None, None], weight)
    return weight
