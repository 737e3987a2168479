"""Direct entropy minimization on target images (ADVENT, Sec. 3.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_uda.self_training.component import Losses
from mmseg_uda.self_training.output_adaptation import OutputAdaptation, named

TINY = 1e-30  # before the logarithm, as published


def normalized_entropy(probabilities: Tensor) -> Tensor:
    """Mean entropy of the pixels as a share of the largest possible one.

    Args:
        probabilities: (B, C, H, W), float32.

    Returns:
        0-dim, 0 for certain predictions and 1 for uniform ones.
    """
    batch, classes, height, width = probabilities.shape
    total = -(probabilities * torch.log2(probabilities + TINY)).sum()
    return total / (batch * height * width * math.log2(classes))


@MODELS.register_module()
class EntropyMinimization(OutputAdaptation):
    """Source cross-entropy plus the entropy of the predictions of target images."""

    def target_losses(self, probabilities: Mapping[str, Tensor]) -> Losses:
        """``target.loss_entropy``, of an auxiliary head ``target.aux.loss_entropy``."""
        return {
            named("target", name, "loss_entropy"): self.loss_weight(name) * normalized_entropy(one)
            for name, one in probabilities.items()
        }
