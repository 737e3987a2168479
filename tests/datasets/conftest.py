"""Tiny data sets in the original folder layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_data import write_image, write_label


@pytest.fixture
def gta_root(tmp_path: Path) -> Path:
    """Four GTA frames of 60x40 with trainId labels: left half 0, right half i."""
    root = tmp_path / "gta"
    for i in range(4):
        write_image(root / f"images/{i:05d}.png", seed=i)
        label = np.zeros((40, 60), np.uint8)
        label[:, 30:] = [1, 9, 14, 16][i]
        write_label(root / f"labels/{i:05d}_labelTrainIds.png", label)
    return root


@pytest.fixture
def cityscapes_root(tmp_path: Path) -> Path:
    """Three training images of 80x40 in two cities, no labels."""
    root = tmp_path / "cityscapes"
    for i, city in enumerate(["aachen", "aachen", "ulm"]):
        name = f"leftImg8bit/train/{city}/{city}_{i:06d}_000019_leftImg8bit.png"
        write_image(root / name, 40, 80, seed=10 + i)
    return root
