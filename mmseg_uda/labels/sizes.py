"""Sizes of images that are resized."""

from __future__ import annotations

from collections.abc import Sequence


def fitted_size(height: int, width: int, scale: Sequence[int]) -> tuple[int, int]:
    """Returns (height, width) of the largest image of this aspect ratio that fits into a scale.

    The factor is min(long / long side, short / short side); sizes round half up, so GTA's
    1914x1052 becomes 1280x704 at (1280, 720).

    Args:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        scale: Two sides in pixels, in either order.
    """
    factor = min(max(scale) / max(height, width), min(scale) / min(height, width))
    return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)
