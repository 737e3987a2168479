"""Contact sheets: pictures, coloured labels and depth of a domain at a glance."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mmseg_uda.miniworld.catalogue import get_domain
from mmseg_uda.miniworld.detail_classes import vistas_palette, vistas_table
from mmseg_uda.miniworld.domains import Domain, Frame, render
from mmseg_uda.miniworld.formats import TAXONOMY, quantize_depth
from mmseg_uda.miniworld.web import CROP_SIZE, read_web
from mmseg_uda.miniworld.world import WorldOptions
from mmseg_uda.taxonomy import load_taxonomy


def colour_label(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) RGB picture of trainIds, black where there is no class."""
    table = np.zeros((256, 3), np.uint8)
    palette = np.array(load_taxonomy(TAXONOMY).palette, np.uint8)
    table[: len(palette)] = palette
    return table[label]


def _coloured(domain: Domain, frame: Frame) -> NDArray[np.uint8]:
    """The labels as the domain's files hold them; of finer ones in the colours of Vistas."""
    if domain.details is None or domain.name == "bdd":
        return colour_label(frame.label)
    return vistas_palette()[vistas_table()[frame.detail]]


def _beside(pictures: list[NDArray[np.uint8]], width: int, height: int) -> NDArray[np.uint8]:
    """Pictures side by side on black cells of one size."""
    cells = np.zeros((height, len(pictures) * width, 3), np.uint8)
    for i, picture in enumerate(pictures):
        cells[: picture.shape[0], i * width : i * width + picture.shape[1]] = picture
    return cells


def contact_sheet(domain: str, options: WorldOptions, columns: int = 4, rows: int = 2) -> NDArray:
    """RGB sheet of ``rows`` blocks of ``columns`` frames: picture, label, depth."""
    described = get_domain(domain)
    world = options.seed, options.strength, options.width, options.height
    frames = [render(described, described.splits[0], i, *world) for i in range(rows * columns)]
    width = max(f.image.shape[1] for f in frames)
    blocks = []
    for first in range(0, len(frames), columns):
        part = frames[first : first + columns]
        height = max(f.image.shape[0] for f in part)
        depth = [quantize_depth(f.inverse)[..., None].repeat(3, axis=2) for f in part]
        for pictures in ([f.image for f in part], [_coloured(described, f) for f in part], depth):
            blocks.append(_beside(pictures, width, height))
    return np.vstack(blocks)


def crop_sheet(folder: Path, columns: int = 12) -> NDArray[np.uint8]:
    """RGB sheet of a web-like domain below ``folder``: one class per row, its name in front."""
    captions, crops = read_web(folder)
    rows = []
    for name in dict.fromkeys(c.name for c in captions):
        chosen = [crops[i] for i, c in enumerate(captions) if c.name == name][:columns]
        title = np.full((CROP_SIZE, 110, 3), 255, np.uint8)
        cv2.putText(title, name, (4, 36), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1)
        missing = [np.full_like(crops[0], 255)] * (columns - len(chosen))
        rows.append(np.hstack([title, *chosen, *missing]))
    return np.vstack(rows)
