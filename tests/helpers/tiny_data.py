"""Tiny data sets in the original file formats."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def write_image(path: Path, height: int = 40, width: int = 60, seed: int = 0) -> np.ndarray:
    """Writes a random RGB PNG and returns it as BGR."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    cv2.imwrite(str(path), image)
    return image


def write_label(path: Path, label: np.ndarray) -> None:
    """Writes an 8-bit grey PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label.astype(np.uint8)).save(path)


def write_palette_label(path: Path, label: np.ndarray) -> None:
    """Writes ids as a palette PNG, as GTA does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(label.astype(np.uint8))
    image.putpalette(np.random.default_rng(1).integers(0, 256, 768, np.uint8).tolist())
    image.save(path)


def write_synthia_label(path: Path, ids: np.ndarray) -> None:
    """Writes a 16-bit PNG with the class in the red channel and instances in the green one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = np.zeros((*ids.shape, 3), np.uint16)
    bgr[..., 2] = ids
    bgr[..., 1] = 1234
    cv2.imwrite(str(path), bgr)
