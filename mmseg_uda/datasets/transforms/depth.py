"""Depth maps as a per-pixel field (CDDA; its values and names)."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.labels import read_depth
from mmseg_uda.taxonomy import DEPTH_LOADER

FIELD = "gt_depth_map"
REMAPS = ("exp", "reciprocal", "linear")
DTYPES = ("float32", "uint8")
# A 16-bit map is an 8-bit one of finer steps: 65535 = 255 * 257.
STEPS_PER_BYTE = 257


@cache
def remap_table(remap: str = "exp", rate: float = 6.0, bits: int = 8) -> np.ndarray:
    """The remapped value of every relative inverse depth D (near = largest, far = 0).

    With D scaled to [0, 255]: ``exp``: floor(255 exp(-rate D / 256)), a pseudo-distance from 255
    (far) to 0 (near); ``reciprocal``: floor(256 / (D + 1) - 1); ``linear``: 255 - D.

    Args:
        remap: One of these.
        rate: Of ``exp``.
        bits: Of the input, 8 or 16.

    Returns:
        float32, (2 ** bits,), non-increasing, in [0, 255]. Whole numbers, except for ``linear`` of
        16 bits.

    Raises:
        UserError: For an unknown remap.
    """
    require_choice(f"{DEPTH_LOADER}: remap", remap, REMAPS)
    inverse = np.arange(2**bits, dtype=np.float64) / (1 if bits == 8 else STEPS_PER_BYTE)
    if remap == "exp":
        table = np.floor(255 * np.exp(-rate * inverse / 256))
    elif remap == "reciprocal":
        table = np.floor(256 / (inverse + 1) - 1).clip(min=0)
    else:
        table = 255 - inverse
    table = table.astype(np.float32)
    table.flags.writeable = False
    return table


@TRANSFORMS.register_module(name=DEPTH_LOADER)
class LoadRemappedDepth(BaseTransform):
    """Reads ``depth_path`` to ``gt_depth_map``: (h, w) of the image as it is now, in [0, 255].

    Files hold relative inverse depth in 8 or 16 bits (Depth Anything V2: near = 255, far = 0).
    Values are remapped by a table, then resized bilinearly straight to the image, so that a depth
    file may have any size. Belongs after the resize and before crop and flip, which treat the
    field like every other one.

    Args:
        remap: See :func:`remap_table`.
        rate: Of ``exp``; must be positive.
        dtype: ``float32`` keeps the fractions that the resize makes; ``uint8`` truncates them, as
            their users do anyway, and moves a quarter of the bytes.

    Raises:
        UserError: An option is unknown, or the file is missing, damaged or in false colours.
    """

    def __init__(self, remap: str = "exp", rate: float = 6.0, dtype: str = "float32") -> None:
        require_choice(f"{DEPTH_LOADER}: dtype", dtype, DTYPES)
        if rate <= 0:
            raise UserError(f"{DEPTH_LOADER}: rate={rate} is not positive.", fix="Published: 6.")
        self.remap = remap
        self.rate = rate
        self.dtype = dtype
        remap_table(remap, rate)

    def transform(self, results: dict) -> dict:
        """Adds gt_depth_map and lists it in seg_fields."""
        depth = read_depth(results["depth_path"])
        depth = remap_table(self.remap, self.rate, 8 * depth.itemsize)[depth]
        height, width = results["img"].shape[:2]
        if depth.shape != (height, width):
            depth = cv2.resize(depth, (width, height), interpolation=cv2.INTER_LINEAR)
        if self.dtype == "uint8":
            depth = depth.astype(np.uint8)
        results[FIELD] = depth
        results["seg_fields"].append(FIELD)
        return results
