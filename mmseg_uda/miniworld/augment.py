"""Strong random changes of colour and sharpness, so that weights do not depend on palettes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def _draw(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, 1, 1, 1, generator=generator)


def _move(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random shift, zoom and flip."""
    n = len(images)
    scale = 1 - 0.2 * torch.rand(n, 2, generator=generator)
    shift = (2 * torch.rand(n, 2, generator=generator) - 1) * (1 - scale)
    flip = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale[:, 0] * flip, scale[:, 1]
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="reflection")


def augment_lightly(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random shift, zoom, flip, gain and noise per image; black stays almost black.

    Args:
        images: (B, 3, S, S) float RGB in [0, 1].
        generator: Source of randomness, on the CPU.

    Returns:
        (B, 3, S, S) float in [0, 1].
    """
    n = len(images)
    images = _move(images, generator)
    gain = 1 + 0.08 * (2 * torch.rand(n, 3, 1, 1, generator=generator) - 1)
    images = images * gain * _draw(n, 0.85, 1.15, generator)
    noise = torch.randn(images.shape, generator=generator) * _draw(n, 0, 0.02, generator)
    return (images + noise).clamp(0, 1)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random shift, zoom, colour rotation, gain, contrast, blur and noise per image.

    Args:
        images: (B, 3, S, S) float RGB in [0, 1].
        generator: Source of randomness, on the CPU.

    Returns:
        (B, 3, S, S) float in [0, 1].
    """
    n = len(images)
    images = _move(images, generator)
    grey = images.mean(1, keepdim=True)
    images = grey + _draw(n, 0.3, 1.4, generator) * (images - grey)
    # A rotation about the grey axis shifts all hues alike.
    angle = _draw(n, -0.6, 0.6, generator)
    turned = grey + (images - grey) * angle.cos()
    turned = turned + (images.roll(1, 1) - images.roll(2, 1)) * (angle.sin() / math.sqrt(3))
    gain = 1 + 0.2 * (2 * torch.rand(n, 3, 1, 1, generator=generator) - 1)
    images = turned * gain * _draw(n, 0.6, 1.25, generator)
    middle = images.mean((1, 2, 3), keepdim=True)
    images = middle + _draw(n, 0.6, 1.3, generator) * (images - middle)
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    images = torch.lerp(images, blurred, _draw(n, 0, 1, generator))
    noise = torch.randn(images.shape, generator=generator) * _draw(n, 0, 0.06, generator)
    return (images + noise).clamp(0, 1)
