"""Draws labelled images of a harbour, in three classes with ids 4, 9 and 11, and unlabelled 0."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT = 96, 64


def write(path: Path, pixels: np.ndarray) -> None:
    """Writes an image in the format of its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image, (h, w, 3), and its ids, (h, w): water, a ship on it, a quay below, sky above."""
    rng = np.random.default_rng(seed)
    ids = np.full((HEIGHT, WIDTH), 4, np.uint8)
    ids[HEIGHT - int(rng.integers(12, 20)) :] = 11
    x = int(rng.integers(0, WIDTH - 30))
    ids[20:34, x : x + 26] = 9
    ids[:6] = 0
    colours = {0: (230, 200, 160), 4: (150, 110, 40), 9: (40, 40, 190), 11: (120, 120, 125)}
    image = np.zeros((HEIGHT, WIDTH, 3))
    for value, colour in colours.items():
        image[ids == value] = colour
    return np.clip(image + rng.normal(0, 10, image.shape), 0, 255).astype(np.uint8), ids


def write_pairs(
    root: Path, images: str, labels: str, count: int = 6, first: int = 0, change=lambda ids: ids
) -> None:
    """Writes images and labels; the patterns hold {i} for the number and {j} for a sub-folder."""
    for i in range(count):
        image, ids = draw(first + i)
        write(root / images.format(i=i, j=i % 2), image)
        if labels:
            write(root / labels.format(i=i, j=i % 2), change(ids))
