"""Augmentation of images on the device: colour jitter and blur.

The colour operations are those of kornia 0.5.8, with which DAFormer and its descendants were
trained: brightness is added, contrast multiplies without a mean. VFM-UDA takes torchvision's, which
blend with black, the mean grey and the grey image. (Later kornia versions do so, too.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_uda.engine.records import Normalization
from mmseg_uda.self_training.random import BLUR_SIGMA, StepRandom

# Half width of the blur kernel in pixels. The largest standard deviation is 1.15, so the
# weights that a wider kernel would add sum up to less than 3e-11.
BLUR_RADIUS = 7


def rgb_to_hsv(rgb: Tensor, eps: float = 1e-6) -> Tensor:
    """(B, 3, H, W) in [0, 1] to hue in turns, saturation and value.

    ``eps`` is added to the value that saturation is a share of; 0 as in torchvision.
    """
    value, argmax = rgb.max(dim=1)
    span = value - rgb.min(dim=1).values
    saturation = span / (value + eps if eps else torch.where(value == 0, 1.0, value))
    red, green, blue = rgb.unbind(dim=1)
    divisor = torch.where(span == 0, 1.0, span)
    sectors = torch.stack(
        [(green - blue) / divisor, 2 + (blue - red) / divisor, 4 + (red - green) / divisor], dim=1
    )
    hue = sectors.gather(1, argmax.unsqueeze(1)).squeeze(1) / 6 % 1.0
    return torch.stack([hue, saturation, value], dim=1)


def hsv_to_rgb(hsv: Tensor) -> Tensor:
    """(B, 3, H, W) back to RGB in [0, 1]: inverse of :func:`rgb_to_hsv`; the hue wraps around."""
    hue, saturation, value = hsv.unbind(dim=1)
    # The channel n of a hue in sixths: value - value * saturation * ramp, with a ramp that is
    # 0 on two sectors, 1 on two and linear between.
    channels = []
    for shift in (5.0, 3.0, 1.0):
        sector = (shift + hue * 6) % 6
        ramp = torch.minimum(sector, 4 - sector).clamp(0, 1)
        channels.append(value - value * saturation * ramp)
    return torch.stack(channels, dim=1)


def _brightness(rgb: Tensor, factor: Tensor) -> Tensor:
    return (rgb + (factor - 1)).clamp(0, 1)


def _contrast(rgb: Tensor, factor: Tensor) -> Tensor:
    return (rgb * factor).clamp(0, 1)


def _saturation(rgb: Tensor, factor: Tensor) -> Tensor:
    hue, saturation, value = rgb_to_hsv(rgb).split(1, dim=1)
    return hsv_to_rgb(torch.cat([hue, (saturation * factor).clamp(0, 1), value], dim=1))


def _hue(rgb: Tensor, shift: Tensor) -> Tensor:
    hue, saturation, value = rgb_to_hsv(rgb).split(1, dim=1)
    return hsv_to_rgb(torch.cat([(hue + shift) % 1.0, saturation, value], dim=1))


def _grey(rgb: Tensor) -> Tensor:
    red, green, blue = rgb.split(1, dim=1)
    return 0.2989 * red + 0.587 * green + 0.114 * blue


def _blend(rgb: Tensor, other: Tensor | float, factor: Tensor) -> Tensor:
    return (rgb * factor + other * (1 - factor)).clamp(0, 1)


def _blend_brightness(rgb: Tensor, factor: Tensor) -> Tensor:
    return _blend(rgb, 0.0, factor)


def _blend_contrast(rgb: Tensor, factor: Tensor) -> Tensor:
    return _blend(rgb, _grey(rgb).mean(dim=(2, 3), keepdim=True), factor)


def _blend_saturation(rgb: Tensor, factor: Tensor) -> Tensor:
    return _blend(rgb, _grey(rgb), factor)


def _turn_hue(rgb: Tensor, shift: Tensor) -> Tensor:
    hue, saturation, value = rgb_to_hsv(rgb, eps=0.0).split(1, dim=1)
    return hsv_to_rgb(torch.cat([(hue + shift) % 1.0, saturation, value], dim=1)).clamp(0, 1)


STYLES = {
    "kornia": (_brightness, _contrast, _saturation, _hue),
    "torchvision": (_blend_brightness, _blend_contrast, _blend_saturation, _turn_hue),
}


def color_jitter(
    rgb: Tensor, factors: Tensor, orders: list[tuple[int, ...]], style: str = "kornia"
) -> Tensor:
    """Jitters colours of (B, 3, H, W) RGB in [0, 1].

    Args:
        rgb: Images.
        factors: (B, 4): brightness, contrast and saturation factors around 1, hue shift in
            turns around 0.
        orders: Per image the order of the four operations (0 brightness … 3 hue). Images that
            share an order are processed together.
        style: A key of ``STYLES``.
    """
    operations = STYLES[style]
    result: list[Tensor | None] = [None] * len(orders)
    for order in dict.fromkeys(orders):
        members = [i for i, other in enumerate(orders) if other == order]
        everyone = len(members) == len(orders)
        images = rgb if everyone else torch.stack([rgb[i] for i in members])
        values = factors if everyone else torch.stack([factors[i] for i in members])
        for operation in order:
            images = operations[operation](images, values[:, operation].view(-1, 1, 1, 1))
        if everyone:
            return images
        for i, image in zip(members, images.unbind(), strict=True):
            result[i] = image
    return torch.stack(result)  # type: ignore[arg-type]


def blur_kernel_size(extent: int) -> int:
    """Odd kernel size of the reference for an image of ``extent`` pixels: about a tenth."""
    tenth = math.ceil(0.1 * extent)
    return math.floor(tenth - 0.5 + tenth % 2)


def blur_weights(sigma: Tensor, size: int) -> Tensor:
    """(B, size) normalised Gaussian weights for (B,) standard deviations in pixels."""
    offsets = torch.arange(size, device=sigma.device, dtype=sigma.dtype) - size // 2
    weights = torch.exp(-(offsets**2) / (2 * sigma.view(-1, 1) ** 2))
    return weights / weights.sum(dim=1, keepdim=True)


def gaussian_blur(image: Tensor, sigma: Tensor, largest: float = BLUR_SIGMA[1]) -> Tensor:
    """Blurs (B, 3, H, W) with one standard deviation per image, borders reflected.

    A separable filter of at most 15 taps per axis, equal to the reference's dense kernel of a
    tenth of the image (103 × 103 at 1024²) within float32 rounding.

    Args:
        image: Images.
        sigma: (B,) standard deviations in pixels.
        largest: No ``sigma`` is above; where it is more than 1.15, the filter has more taps.
    """
    radius = math.ceil(BLUR_RADIUS * largest / BLUR_SIGMA[1])
    batch, channels, height, width = image.shape
    blurred = image.reshape(1, batch * channels, height, width)
    for axis, extent in ((2, height), (3, width)):
        size = min(blur_kernel_size(extent), 2 * radius + 1)
        weights = blur_weights(sigma, size).repeat_interleave(channels, dim=0)
        shape = (-1, 1, size, 1) if axis == 2 else (-1, 1, 1, size)
        half = size // 2
        padding = (0, 0, half, half) if axis == 2 else (half, half, 0, 0)
        padded = F.pad(blurred, padding, mode="reflect")
        # An image is data, not activation: eight bits of bf16 would be coarser than its pixels.
        with torch.autocast(image.device.type, enabled=False):
            blurred = F.conv2d(padded, weights.view(shape), groups=batch * channels)
    return blurred.view_as(image)


def strong_augmentation(
    image: Tensor,
    normalization: Normalization,
    random: StepRandom,
    *,
    jitter: bool | Sequence[bool],
    blur: bool | Sequence[bool],
    jitter_strength: float | Sequence[float],
    shared_draws: bool = False,
    style: str = "kornia",
    grey: Sequence[bool] = (),
    blur_sigma: tuple[float, float] = BLUR_SIGMA,
) -> Tensor:
    """Jitters, then blurs normalised images.

    Args:
        image: (B, 3, H, W) float32, normalised.
        normalization: Of ``image``.
        random: Source of factors, orders and standard deviations.
        jitter: Whether to jitter colours, of all images or per image.
        blur: Whether to blur, likewise.
        jitter_strength: Half width of the factors' range (0.2), one or four: brightness, contrast,
            saturation, hue.
        shared_draws: One operation order and one standard deviation for the whole batch (MIC)
            instead of one per image (DACS).
        style: Of the colour operations, a key of ``STYLES``.
        grey: Per image whether it loses its colours, between jitter and blur; none by default.
        blur_sigma: Range of the standard deviations in pixels.
    """
    batch, device = image.shape[0], image.device
    if chosen := _chosen(jitter, batch):
        if isinstance(jitter_strength, (int, float)):
            jitter_strength = (jitter_strength,) * 4
        drawn = random.jitter_factors(batch, device).unbind(dim=1)
        change = torch.stack([d * s for d, s in zip(drawn, jitter_strength, strict=True)], dim=1)
        factors = torch.cat([1 + change[:, :3], change[:, 3:]], dim=1)
        orders = random.jitter_orders(batch, shared_draws)
        jittered = color_jitter(
            normalization.to_rgb(_rows(image, chosen)),
            _rows(factors, chosen),
            [orders[i] for i in chosen],
            style,
        )
        image = _with_rows(image, chosen, normalization.from_rgb(jittered))
    if chosen := _chosen(grey, batch):
        rows = _grey(normalization.to_rgb(_rows(image, chosen))).expand(-1, 3, -1, -1)
        image = _with_rows(image, chosen, normalization.from_rgb(rows))
    if chosen := _chosen(blur, batch):
        sigma = random.blur_sigma(batch, shared_draws, device, blur_sigma)
        blurred = gaussian_blur(_rows(image, chosen), _rows(sigma, chosen), blur_sigma[1])
        image = _with_rows(image, chosen, blurred)
    return image


def _chosen(decision: bool | Sequence[bool], batch: int) -> list[int]:
    decisions = [decision] * batch if isinstance(decision, bool) else decision
    return [i for i, yes in enumerate(decisions) if yes]


# By the host's numbers: indexing by a mask would wait for the device.
def _rows(x: Tensor, chosen: list[int]) -> Tensor:
    return x if len(chosen) == len(x) else torch.stack([x[i] for i in chosen])


def _with_rows(x: Tensor, chosen: list[int], rows: Tensor) -> Tensor:
    if len(chosen) == len(x):
        return rows
    result = list(x)
    for i, row in zip(chosen, rows, strict=True):
        result[i] = row
    return torch.stack(result)
