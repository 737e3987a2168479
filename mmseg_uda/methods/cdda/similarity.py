"""How alike two images are in where their classes lie in depth (CDDA, as formulas).

These are the definitions; :mod:`mmseg_uda.methods.cdda.search` evaluates them for a whole bank.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Similarity:
    """Similarity of a bank entry to a target image; leading dimensions as broadcast.

    Attributes:
        classes: (..., C), similarity of each class in [0, 1], 0 for classes that the target lacks.
        composition: (...), cosine of the two vectors of class sizes.
        total: (...), ``composition`` times the sum of ``classes``.
        score: (...), ``total`` divided by the number of the target's classes, in [0, 1].
    """

    classes: Tensor
    composition: Tensor
    total: Tensor
    score: Tensor


def class_similarity(bank: Tensor, target: Tensor) -> Tensor:
    """Mean of the cosine of two histograms and the overlap (Dice) of their counts, per class.

    ``(cos(S_c, T_c) + 1 - sum_k |S_ck - T_ck| / (sum_k S_ck + sum_k T_ck)) / 2``

    Args:
        bank: (..., C, K) counts.
        target: (..., C, K) counts; broadcast against ``bank``.

    Returns:
        (..., C) in [0, 1]; 0 where either has no pixel of the class.
    """
    bank, target = _floating(bank), _floating(target)
    both = (bank.sum(-1) > 0) & (target.sum(-1) > 0)
    norms = torch.linalg.vector_norm(bank, dim=-1) * torch.linalg.vector_norm(target, dim=-1)
    cosine = (bank * target).sum(-1) / torch.where(both, norms, 1)
    pixels = bank.sum(-1) + target.sum(-1)
    distance = (bank - target).abs().sum(-1) / torch.where(both, pixels, 1)
    return torch.where(both, (cosine + 1 - distance) / 2, 0)


def composition(bank: Tensor, target: Tensor) -> Tensor:
    """Cosine of the class sizes of two images.

    Args:
        bank: (..., C, K) counts.
        target: (..., C, K) counts; broadcast against ``bank``.

    Returns:
        (...) in [0, 1]; 0 for an image without a labelled pixel.
    """
    ours, theirs = _floating(bank).sum(-1), _floating(target).sum(-1)
    norms = torch.linalg.vector_norm(ours, dim=-1) * torch.linalg.vector_norm(theirs, dim=-1)
    return (ours * theirs).sum(-1) / torch.where(norms > 0, norms, 1)


def image_similarity(bank: Tensor, target: Tensor, min_class_pixels: int = 1) -> Similarity:
    """Similarity of images, in float64.

    Args:
        bank: (..., C, K) counts.
        target: (..., C, K) counts; broadcast against ``bank``.
        min_class_pixels: Classes with fewer pixels in the target count as absent from it, except
            in ``composition``.
    """
    bank, target = bank.double(), target.double()
    present = target.sum(-1) >= max(min_class_pixels, 1)
    classes = torch.where(present, class_similarity(bank, target), 0)
    whole = composition(bank, target)
    total = whole * classes.sum(-1)
    return Similarity(classes, whole, total, total / present.sum(-1).clamp(min=1))


def _floating(counts: Tensor) -> Tensor:
    return counts if counts.is_floating_point() else counts.double()
