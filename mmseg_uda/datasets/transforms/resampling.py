"""Resampling as Pillow does it: bicubic with antialiasing for images, nearest for labels."""

from __future__ import annotations

import numpy as np
from PIL import Image

Span = tuple[int, int]
"""First and last pixel + 1."""


def resized_part(image: np.ndarray, size: tuple[int, int], rows: Span, columns: Span) -> np.ndarray:
    """A part of an image that was resized bicubically, without resizing the rest.

    Equal to ``resize(size)`` of the whole image followed by a crop, up to one grey level of
    rounding (SRHA).

    Args:
        image: uint8, (h, w, 3).
        size: (height, width) of the whole resized image.
        rows, columns: Part of the resized image.

    Returns:
        uint8, (rows, columns, 3).
    """
    height, width = image.shape[:2]
    across, down = width / size[1], height / size[0]
    # Not beyond the image, which rounding alone could cause and Pillow refuses.
    box = (
        columns[0] * across,
        rows[0] * down,
        min(columns[1] * across, width),
        min(rows[1] * down, height),
    )
    target = (columns[1] - columns[0], rows[1] - rows[0])
    resized = Image.fromarray(image).resize(target, Image.Resampling.BICUBIC, box=box)
    return np.asarray(resized)


def nearest_part(field: np.ndarray, size: tuple[int, int], rows: Span, columns: Span) -> np.ndarray:
    """The same for labels and other fields, (h, w[, ...]) of any type, by nearest neighbour."""
    height, width = field.shape[:2]
    down, across = nearest(rows, size[0], height), nearest(columns, size[1], width)
    return field[down[:, None], across[None, :]]


def nearest(span: Span, size: int, source: int) -> np.ndarray:
    """Source index of each pixel: that of its centre, floor((i + 0.5) source / size).

    Args:
        span: Pixels of the resized axis.
        size: Its length.
        source: Length of the axis before.

    Returns:
        int64, (number of pixels,).
    """
    # Twice the centre is whole, so that no rounding can shift a pixel.
    return (2 * np.arange(*span, dtype=np.int64) + 1) * source // (2 * size)
