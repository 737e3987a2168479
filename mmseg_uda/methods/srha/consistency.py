"""Consistency of two predictions: their Jensen–Shannon divergence."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmseg_uda.models.precision import full_precision

# Logarithms of probabilities are kept above this: exp gives 0, and 0 times it is 0, not NaN.
_LEAST = -1e4


def js_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Jensen–Shannon divergence in nats of two predicted distributions, by pixel.

    Args:
        first: Logits (B, K, H, W), any float type; logarithms of probabilities will do.
        second: The same.

    Returns:
        (B, H, W) in [0, ln 2], float32 (of float64 float64); gradients flow into both and are
        finite.
    """
    with torch.autocast(first.device.type, enabled=False):
        both = (full_precision(x).log_softmax(dim=1) for x in (first, second))
        log_p, log_q = (x.clamp(min=_LEAST) for x in both)
        log_mean = torch.logaddexp(log_p, log_q) - math.log(2)
        terms = log_p.exp() * (log_p - log_mean) + log_q.exp() * (log_q - log_mean)
        return terms.sum(dim=1) / 2


def js_consistency(predict: Callable[[slice], Tensor], batch: int, weight: float = 10.0) -> Tensor:
    """Mean divergence of the predictions for B images and for their copies.

    Full-size predictions exist for one image and its copy at a time; the backward pass computes
    them again.

    Args:
        predict: Takes a slice of the 2·B rows (images, then their copies) and returns logits
            (n, K, H, W) for it, alike whenever it is called.
        batch: B.
        weight: Factor on the result (published: 10).

    Returns:
        0-dim, the mean over B·H·W pixels.
    """

    def one(image: int) -> Tensor:
        rows = (slice(image, image + 1), slice(image + batch, image + batch + 1))
        return js_divergence(predict(rows[0]), predict(rows[1])).mean()

    if torch.is_grad_enabled():
        # Nothing in it is random.
        parts = [
            checkpoint(one, i, use_reentrant=False, preserve_rng_state=False) for i in range(batch)
        ]
    else:
        parts = [one(i) for i in range(batch)]
    return weight * torch.stack(parts).mean()
