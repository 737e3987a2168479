"""Square network inputs from image regions, batched.

CLIP's and OWL-ViT's own preprocessing follows Pillow's antialiased bicubic filter (coefficient
-0.5), either on 8-bit data as published, or on floats by one weight matrix per box and axis, which
needs neither a Python loop nor the box coordinates on the host. DynAlign resizes with OpenCV's
linear filter, which has two taps per axis whatever the scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mmseg_uda.errors import UserError

CROP_MODES = ("center", "square_pad", "stretch")
RESAMPLES = ("pil8", "tensor")
LINEAR_RESAMPLES = ("opencv", "opencv8", "linear")

# Upper bound on the floats of the per-box image copies that one matrix product reads (128 MiB).
_MAX_GATHERED = 2**25


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """``(images - mean) / std`` per channel for (n, 3, H, W)."""
    return (images - _channels(tuple(mean), images.device)) / _channels(tuple(std), images.device)


@lru_cache(maxsize=32)
def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    # Kept on the device: copying three numbers there would wait for it in every call.
    return torch.tensor(values, dtype=torch.float32, device=device).view(1, 3, 1, 1)


def crop_boxes(
    images: Tensor,
    boxes: Tensor,
    index: Tensor,
    size: int,
    mode: str = "center",
    resample: str = "tensor",
    fill: Sequence[float] = (0.0, 0.0, 0.0),
) -> Tensor:
    """Cuts boxes out of images and brings them to ``size`` × ``size`` pixels.

    Args:
        images: (B, 3, H, W) float, RGB in [0, 1].
        boxes: (n, 4) integer pixels x0, y0, x1, y1, half-open, inside the image, not empty.
        index: (n,) int64, which image each box lies in.
        size: Side of the result.
        mode: ``center``: the shorter edge becomes ``size``, the longer one
            ``int(size * long / short)``, and the centre is kept; ``square_pad``: padded with
            ``fill`` to a centred square first; ``stretch``: both edges become ``size``.
        resample: ``pil8``: values are truncated to 8 bits and resized by Pillow on the CPU;
            ``tensor``: floats, on the images' device. Bicubic overshoot is kept. With ``stretch``
            also ``opencv`` and ``opencv8``: by OpenCV's linear filter on the CPU, on floats from
            0 to 255 or on 8 bits, and ``linear``: the same filter on floats on the images' device.
        fill: RGB of the padding.

    Returns:
        (n, 3, size, size) float32.
    """
    if len(boxes) == 0:
        return images.new_zeros((0, 3, size, size), dtype=torch.float32)
    if resample == "pil8":
        return _crop_pil8(images, boxes, index, size, mode, fill)
    if resample in LINEAR_RESAMPLES:
        if mode != "stretch":
            raise UserError(f"crops by {resample!r} with mode {mode!r}.", fix="Mode 'stretch'.")
        if resample != "linear":
            return _crop_opencv(images, boxes, index, size, eight_bits=resample == "opencv8")
        if len(images) == 1:  # not copied per box
            return _crop_linear(images, boxes, index, size)
    chunk = max(1, _MAX_GATHERED // images[0].numel())
    parts = list(zip(boxes.split(chunk), index.split(chunk), strict=True))
    if resample == "linear":
        return torch.cat([_crop_linear(images, b, i, size) for b, i in parts])
    return torch.cat([_crop_tensor(images, b, i, size, mode, fill) for b, i in parts])


def resize_images(images: Tensor, size: tuple[int, int], resample: str = "tensor") -> Tensor:
    """Bicubic resize of whole images to ``size`` = (height, width), aspect ignored.

    Args:
        images: (B, 3, H, W) float, RGB in [0, 1].
        size: Height and width of the result.
        resample: As in :func:`crop_boxes`.

    Returns:
        (B, 3, height, width) float32.
    """
    if resample == "tensor":
        return F.interpolate(
            images.float(), size, mode="bicubic", antialias=True, align_corners=False
        )
    arrays = [
        np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))
        for image in _to_uint8(images)
    ]
    return _from_uint8(arrays, images.device)


def _crop_tensor(
    images: Tensor, boxes: Tensor, index: Tensor, size: int, mode: str, fill: Sequence[float]
) -> Tensor:
    height, width = images.shape[-2:]
    x0, y0, x1, y1 = boxes.float().unbind(1)
    box_w, box_h = x1 - x0, y1 - y0
    short, long = torch.minimum(box_w, box_h), torch.maximum(box_w, box_h)
    if mode == "center":
        # Integer division in double keeps int(size * long / short) exact.
        resized = torch.floor(size * long.double() / short.double()).float()
        full = torch.full_like(short, size)
        out_w = torch.where(box_w > box_h, resized, full)
        out_h = torch.where(box_h > box_w, resized, full)
        frame_w, frame_h = box_w, box_h
    else:
        frame_w, frame_h = (long, long) if mode == "square_pad" else (box_w, box_h)
        out_w = out_h = torch.full_like(short, size)
    start_x = x0 - torch.floor((frame_w - box_w) / 2)
    start_y = y0 - torch.floor((frame_h - box_h) / 2)
    margin = (max(height, width) + 1) // 2 if mode == "square_pad" else 0
    weight_x = _bicubic(start_x, frame_w, out_w, size, width, margin, x0, x1)
    weight_y = _bicubic(start_y, frame_h, out_h, size, height, margin, y0, y1)
    rows = torch.einsum("nchw,nsw->nchs", images.float()[index], weight_x)
    crops = torch.einsum("nchs,nth->ncts", rows, weight_y)
    if mode == "square_pad":
        covered = weight_y.sum(2)[:, None, :, None] * weight_x.sum(2)[:, None, None, :]
        crops = crops + (1 - covered) * _channels(tuple(fill), crops.device)
    return crops


def _bicubic(
    start: Tensor,
    frame: Tensor,
    out: Tensor,
    size: int,
    extent: int,
    margin: int,
    low: Tensor,
    high: Tensor,
) -> Tensor:
    """Weights (n, size, extent) that resize [start, start + frame) to ``out`` pixels.

    The ``size`` central output pixels are kept. Pixels of the frame outside [low, high) are
    padding: they take part in the filter's normalisation (for that the axis is extended by
    ``margin`` pixels on both sides), but their weight is returned as zero.
    """
    scale = frame / out
    stretch = scale.clamp(min=1.0)[:, None, None]
    offset = torch.floor((out - size) / 2)
    steps = torch.arange(size, device=start.device, dtype=torch.float32)
    centre = start[:, None] + (steps + offset[:, None] + 0.5) * scale[:, None]
    pixels = torch.arange(-margin, extent + margin, device=start.device, dtype=torch.float32) + 0.5
    weight = _cubic((pixels - centre[..., None]) / stretch)
    weight = weight * _between(pixels, start, start + frame)
    weight = weight / weight.sum(-1, keepdim=True)
    if margin:
        weight = (weight * _between(pixels, low, high))[..., margin:-margin]
    return weight


def _between(pixels: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return ((pixels > low[:, None]) & (pixels < high[:, None]))[:, None, :]


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -0.5, Pillow's bicubic filter."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _crop_pil8(
    images: Tensor, boxes: Tensor, index: Tensor, size: int, mode: str, fill: Sequence[float]
) -> Tensor:
    arrays = _to_uint8(images)
    colour = tuple(int(255 * value) for value in fill)
    crops = []
    for (x0, y0, x1, y1), i in zip(boxes.tolist(), index.tolist(), strict=True):
        crop = Image.fromarray(arrays[i][y0:y1, x0:x1])
        width, height = crop.size
        if mode == "square_pad":
            side = max(width, height)
            square = Image.new("RGB", (side, side), colour)
            square.paste(crop, ((side - width) // 2, (side - height) // 2))
            crop = square
        if mode == "center":
            short, long = min(width, height), max(width, height)
            edge = int(size * long / short)
            out_w, out_h = (edge, size) if width > height else (size, edge)
            crop = crop.resize((out_w, out_h), Image.Resampling.BICUBIC)
            left, top = int((out_w - size) / 2), int((out_h - size) / 2)
            crop = crop.crop((left, top, left + size, top + size))
        else:
            crop = crop.resize((size, size), Image.Resampling.BICUBIC)
        crops.append(np.asarray(crop))
    return _from_uint8(crops, images.device)


def _crop_opencv(
    images: Tensor, boxes: Tensor, index: Tensor, size: int, eight_bits: bool
) -> Tensor:
    arrays = images.float().permute(0, 2, 3, 1).cpu().numpy()
    crops = []
    for (x0, y0, x1, y1), i in zip(boxes.tolist(), index.tolist(), strict=True):
        crop = np.ascontiguousarray(arrays[i, y0:y1, x0:x1]) * np.float32(255)
        if eight_bits:
            crop = crop.round().clip(0, 255).astype(np.uint8)
        crops.append(cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR))
    return _from_uint8(crops, images.device)


def _crop_linear(images: Tensor, boxes: Tensor, index: Tensor, size: int) -> Tensor:
    x0, y0, x1, y1 = boxes.unbind(1)
    height, width = images.shape[-2:]
    across = _positions(x0, x1, size, width)[:, None, :].expand(-1, size, -1)
    down = _positions(y0, y1, size, height)[:, :, None].expand(-1, -1, size)
    source = images.expand(len(boxes), -1, -1, -1) if len(images) == 1 else images[index]
    places = torch.stack([across, down], dim=-1)
    return F.grid_sample(source.float(), places, padding_mode="border", align_corners=True)


def _positions(low: Tensor, high: Tensor, size: int, extent: int) -> Tensor:
    """Where output pixels lie, (n, size) from -1 (centre of the first pixel) to 1 (of the last).

    Outside the crop its edge pixel goes on, so that pixels beyond it play no part.
    """
    length = (high - low)[:, None].float()
    steps = torch.arange(size, device=low.device, dtype=torch.float32) + 0.5
    position = torch.minimum((steps * (length / size) - 0.5).clamp(min=0), length - 1)
    return (low[:, None] + position) * (2 / max(extent - 1, 1)) - 1


def _to_uint8(images: Tensor) -> np.ndarray:
    # Truncation, not rounding: what the published processors did to float images.
    scaled = (images.float() * 255).clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(scaled.permute(0, 2, 3, 1).cpu().numpy())


def _from_uint8(arrays: Sequence[np.ndarray], device: torch.device) -> Tensor:
    stacked = torch.from_numpy(np.stack(arrays)).to(device)
    return stacked.permute(0, 3, 1, 2).float() / 255
