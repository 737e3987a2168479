"""How far several predictions of one pixel disagree (SSDA's Bayesian uncertainty).

The generalised Jensen-Shannon divergence, which is the mutual information of prediction and
model (BALD): the entropy of the mean minus the mean of the entropies, in bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_uda.models.precision import full_precision

# Keeps the gradient of p log p finite; 7e-11 bits.
_TINY = 1e-12


def entropy(probability: Tensor) -> Tensor:
    """Entropy in bits: (N, C, H, W) probabilities to (N, H, W); 0 · log 0 is 0."""
    probability = full_precision(probability)
    if probability.requires_grad:
        probability = probability.clamp_min(_TINY)
    return torch.special.entr(probability).sum(dim=1) / math.log(2)


class Disagreement:
    """Sums probability maps up one by one, so that T maps need the memory of one.

    The maps are (N, C, H, W), summed in float32 (float64 stays). Everything can be
    differentiated.
    """

    def __init__(self) -> None:
        self._total: Tensor | None = None
        self._entropies: Tensor | None = None
        self._count = 0

    def add(self, probability: Tensor) -> None:
        """Counts one more map (N, C, H, W)."""
        probability = full_precision(probability)
        own = entropy(probability)
        self._count += 1
        if self._total is None or self._entropies is None:
            self._total, self._entropies = probability.clone(), own
        else:
            self._total.add_(probability)
            self._entropies = self._entropies + own

    def mean(self) -> Tensor:
        """Mean of the maps, (N, C, H, W).

        Raises:
            ValueError: If there is none.
        """
        if self._total is None:
            raise ValueError("a divergence needs at least one probability map")
        return self._total / self._count

    def divergence(self) -> Tensor:
        """Entropy of the mean minus mean of entropies, (N, H, W); see :func:`jensen_shannon`."""
        mean = self.mean()
        assert self._entropies is not None
        # Rounding may leave it below 0; adding 0 turns -0 into 0, whose bits seed_mask sorts.
        return (entropy(mean) - self._entropies / self._count).clamp(min=0) + 0.0


def jensen_shannon(maps: Iterable[Tensor]) -> Tensor:
    """Divergence of T probability maps.

    Args:
        maps: T ≥ 1 tensors (N, C, H, W); a generator keeps one of them at a time.

    Returns:
        (N, H, W) in [0, log2 T] bits; exactly 0 (never -0) where two maps are identical.

    Raises:
        ValueError: If there is no map.
    """
    opinions = Disagreement()
    for probability in maps:
        opinions.add(probability)
    return opinions.divergence()


def masked_logits(features: Tensor, classifiers: Sequence[nn.Conv2d], masks: Tensor) -> Tensor:
    """Logits under T channel-dropout masks in one convolution.

    Dropping an input channel of a linear classifier is dropping a slice of its weights:
    conv(f ⊙ μ, W) = conv(f, W ⊙ μ). The T masked copies of W are stacked along the output, so
    that the features are read once and never copied.

    Args:
        features: (N, D, h, w), before dropout.
        classifiers: Convolutions whose sum is the logits, all reading the features.
        masks: (T, D) of 0 and 1 / (1 - rate).

    Returns:
        (N, T·C, h', w'), pass by pass, at the size that the convolutions give; under autocast in
        its type.

    Raises:
        ValueError: If there is no classifier, or one is grouped or pads with something else than
            zeros.
    """
    passes = masks.shape[0]
    total: Tensor | None = None
    for conv in classifiers:
        if conv.groups != 1 or conv.padding_mode != "zeros":
            raise ValueError("a stacked classifier needs an ungrouped, zero-padded convolution")
        weight = (conv.weight[None] * masks[:, None, :, None, None].to(conv.weight)).flatten(0, 1)
        bias = None if conv.bias is None else conv.bias.repeat(passes)
        out = F.conv2d(features, weight, bias, conv.stride, conv.padding, conv.dilation)
        total = out if total is None else total + out
    if total is None:
        raise ValueError("there is no classifier")
    return total
