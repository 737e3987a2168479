"""The network that tells source predictions from target predictions (AdaptSegNet, Sec. 4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SOURCE, TARGET = 0.0, 1.0
WIDTHS = (64, 128, 256, 512)
SLOPE = 0.2


class Discriminator(nn.Sequential):
    """Five convolutions of 4×4 pixels with stride 2, leaky ReLUs between them, no normalisation.

    (B, C, H, W) probabilities to (B, 1, H/32, W/32) scores: 0 means source, 1 target.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        layers: list[nn.Module] = []
        before = num_classes
        for width in WIDTHS:
            layers += [nn.Conv2d(before, width, 4, 2, 1), nn.LeakyReLU(SLOPE, inplace=True)]
            before = width
        super().__init__(*layers, nn.Conv2d(before, 1, 4, 2, 1))


def domain_loss(scores: Tensor, domain: float, kind: str) -> Tensor:
    """How far a discriminator's scores are from a domain, a 0-dim mean.

    Args:
        scores: (B, 1, h, w).
        domain: ``SOURCE`` or ``TARGET``.
        kind: ``LS``: squared distance; ``Vanilla``: binary cross-entropy of the scores as logits.
    """
    wanted = torch.full_like(scores, domain)
    if kind == "LS":
        return F.mse_loss(scores, wanted)
    return F.binary_cross_entropy_with_logits(scores, wanted)
