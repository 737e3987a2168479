"""DynAlign's steps on one image beside each other: image, source prediction, regions, result."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw

from mmseg_uda.visualization.canvas import (
    INK,
    UNLABELLED_COLOR,
    UNLABELLED_NAME,
    WHITE,
    Classes,
    Color,
    fit,
    font,
    grid,
    legend,
    stack,
)

MARGIN = 12
TITLE = 16
# A step by the golden ratio keeps the hues of neighbours in the order of size apart.
HUE_STEP = 0.618034


@dataclass(frozen=True)
class AlignmentView:
    """What is shown of one image of h × w pixels.

    Attributes:
        image: (h, w, 3) uint8 RGB.
        source: (h, w) source classes.
        owner: (h, w) region seen at each pixel, counted from the largest; -1 for none.
        aligned: (h, w) target ids.
        source_classes: Names and colours of the source classes.
        target_classes: Names and colours of the target ids.
        shape: (height, width) of the image file, whose aspect pictures keep; None: that of the
            arrays, which may be stretched.
    """

    image: np.ndarray
    source: np.ndarray
    owner: np.ndarray
    aligned: np.ndarray
    source_classes: Classes
    target_classes: Classes
    shape: tuple[int, int] | None = None


def alignment_picture(view: AlignmentView, width: int = 640) -> Image.Image:
    """Four pictures with titles, and below them the classes that occur.

    Args:
        view: What to show.
        width: Of one picture in pixels.
    """
    regions = len(np.unique(view.owner[view.owner >= 0]))
    pictures = (
        ("Image", view.image, True),
        ("Source prediction", paint(view.source, view.source_classes), False),
        (f"{regions} regions in sight", _enlarged_regions(view, width), True),
        ("Aligned prediction", paint(view.aligned, view.target_classes), False),
    )
    tiles = [
        _titled(title, fit(unstretched(picture, view.shape), width, smooth))
        for title, picture, smooth in pictures
    ]
    across = 2 * width + MARGIN
    blocks = [grid(tiles, 2, width, MARGIN)]
    for title, ids, classes in (
        ("Source classes", view.source, view.source_classes),
        ("Target classes", view.aligned, view.target_classes),
    ):
        blocks.append(_titled(title, legend(present(ids, classes), across)))
    sheet = stack(blocks, MARGIN)
    framed = Image.new("RGB", (sheet.width + 2 * MARGIN, sheet.height + 2 * MARGIN), WHITE)
    framed.paste(sheet, (MARGIN, MARGIN))
    return framed


def paint(ids: np.ndarray, classes: Classes) -> np.ndarray:
    """(h, w) ids to (h, w, 3) uint8 RGB; ids without a class are black."""
    table = np.zeros((max(int(ids.max(initial=0)) + 1, len(classes.colors)), 3), np.uint8)
    table[: len(classes.colors)] = classes.colors
    return table[ids]


def present(ids: np.ndarray, classes: Classes) -> list[tuple[str, Color]]:
    """Names and colours of the classes that occur, the most frequent first."""
    values, counts = np.unique(ids, return_counts=True)
    entries = []
    for value in values[np.argsort(-counts, kind="stable")].tolist():
        known = value < len(classes.names)
        entries.append(
            (classes.names[value], classes.colors[value])
            if known
            else (UNLABELLED_NAME, UNLABELLED_COLOR)
        )
    return list(dict.fromkeys(entries))


def region_colors(image: np.ndarray, owner: np.ndarray, opacity: float = 0.55) -> np.ndarray:
    """Regions in distinct colours over the image in grey, with light borders.

    Args:
        image: (h, w, 3) uint8 RGB.
        owner: (h, w) region at each pixel, -1 for none.
        opacity: Of the colours.
    """
    grey = image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    count = int(owner.max(initial=-1)) + 1
    table = np.zeros((count + 1, 3), np.float32)
    for rank in range(count):
        table[rank] = [255 * v for v in colorsys.hsv_to_rgb(rank * HUE_STEP % 1, 0.8, 1.0)]
    inside = (owner >= 0)[..., None]
    mixed = np.where(inside, (1 - opacity) * grey + opacity * table[owner], grey)
    border = np.zeros(owner.shape, bool)
    border[:, 1:] |= owner[:, 1:] != owner[:, :-1]
    border[1:] |= owner[1:] != owner[:-1]
    mixed[border] = WHITE
    return np.rint(mixed).astype(np.uint8)


def unstretched(picture: np.ndarray, shape: tuple[int, int] | None) -> np.ndarray:
    """(h, w, ...) to (h, w', ...), of the aspect of ``shape`` (height, width); None: as it is."""
    height, width = picture.shape[:2]
    wanted = width if shape is None else max(1, round(height * shape[1] / shape[0]))
    if wanted == width:
        return picture
    return cv2.resize(picture, (wanted, height), interpolation=cv2.INTER_NEAREST)


def _enlarged_regions(view: AlignmentView, width: int) -> np.ndarray:
    # Borders one pixel wide would cover small regions of a small image.
    factor = max(1, width // view.image.shape[1])
    image, owner = (a.repeat(factor, 0).repeat(factor, 1) for a in (view.image, view.owner))
    return region_colors(image, owner)


def _titled(title: str, picture: Image.Image) -> Image.Image:
    sheet = Image.new("RGB", (picture.width, picture.height + TITLE + 8), WHITE)
    ImageDraw.Draw(sheet).text((0, 2), title, fill=INK, font=font(TITLE, bold=True))
    sheet.paste(picture, (0, TITLE + 8))
    return sheet
