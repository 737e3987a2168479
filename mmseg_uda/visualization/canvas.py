"""Text, colours and small drawings that pictures are put together from."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

WHITE: Color = (255, 255, 255)
INK: Color = (25, 25, 25)
FAINT: Color = (110, 110, 110)
GRID: Color = (205, 205, 205)
UNLABELLED_COLOR: Color = (0, 0, 0)
NOT_FINITE_COLOR: Color = (128, 128, 128)
UNLABELLED_NAME = "unlabelled"
#: Class lists up to this length stand in the legend as a whole, longer ones as far as they occur.
LEGEND_MAX = 40


@lru_cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib, at ``size`` pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)


@dataclass(frozen=True)
class Classes:
    """Names and colours of trainIds."""

    names: tuple[str, ...]
    colors: tuple[Color, ...]

    @classmethod
    def of(cls, metainfo: dict | None, count: int = 0) -> Classes:
        """From a data set's ``classes`` and ``palette``; what is absent is numbered and coloured.

        Args:
            metainfo: Of an mmseg data set.
            count: Number of classes if the data set does not name them.
        """
        metainfo = metainfo or {}
        names = tuple(metainfo.get("classes") or (f"class {i}" for i in range(count)))
        palette = metainfo.get("palette")
        if not palette or len(palette) < len(names):
            hues = [i / max(len(names), 1) for i in range(len(names))]
            palette = [[255 * v for v in colorsys.hsv_to_rgb(h, 0.75, 0.9)] for h in hues]
        colors: list[Color] = [(int(r), int(g), int(b)) for r, g, b in palette[: len(names)]]
        return cls(names, tuple(colors))

    def name(self, index: int) -> str:
        """The name of a trainId."""
        return self.names[index] if 0 <= index < len(self.names) else str(index)

    def color(self, index: int) -> Color:
        """The colour of a trainId."""
        return self.colors[index] if 0 <= index < len(self.colors) else UNLABELLED_COLOR

    def paint(self, label: np.ndarray) -> np.ndarray:
        """(H, W) uint8 trainIds to (H, W, 3) uint8 RGB."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.colors)] = self.colors[:256]
        return table[label]


def heat(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """(H, W) float to (H, W, 3) uint8 RGB in viridis; what is not finite becomes grey."""
    finite = np.isfinite(values)
    span = high - low if high > low else 1.0
    share = np.clip((np.where(finite, values, low) - low) / span, 0, 1)
    colored = cv2.applyColorMap((share * 255).round().astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    rgb = np.ascontiguousarray(colored[..., ::-1])
    rgb[~finite] = NOT_FINITE_COLOR
    return rgb


def fit(picture: np.ndarray, width: int, smooth: bool) -> Image.Image:
    """Resizes (H, W, 3) RGB to ``width``; high pictures are limited to a square."""
    height = round(picture.shape[0] * width / picture.shape[1])
    if height > width:
        height, width = width, max(1, round(picture.shape[1] * width / picture.shape[0]))
    shrinks = width < picture.shape[1]
    method = cv2.INTER_AREA if shrinks and smooth else cv2.INTER_NEAREST
    resized = cv2.resize(picture, (width, max(1, height)), interpolation=method)
    return Image.fromarray(resized)


def shorten(text: str, width: float, face: ImageFont.FreeTypeFont) -> str:
    """Cuts ``text`` in the middle until it is at most ``width`` pixels wide."""
    if face.getlength(text) <= width:
        return text
    kept = len(text)
    while kept > 1:
        kept -= 1
        left = text[: (kept + 1) // 2] + "…" + text[len(text) - kept // 2 :]
        if face.getlength(left) <= width:
            return left
    return "…"


def number(value: float) -> str:
    """A short decimal: three significant digits."""
    return f"{value:.3g}"


def stack(blocks: Sequence[Image.Image], gap: int, background: Color = WHITE) -> Image.Image:
    """Puts blocks below each other."""
    width = max(block.width for block in blocks)
    height = sum(block.height for block in blocks) + gap * (len(blocks) - 1)
    sheet = Image.new("RGB", (width, height), background)
    y = 0
    for block in blocks:
        sheet.paste(block, (0, y))
        y += block.height + gap
    return sheet


def grid(
    tiles: Sequence[Image.Image], columns: int, width: int, gap: int, background: Color = WHITE
) -> Image.Image:
    """Puts tiles of one width in rows; a row is as high as its highest tile."""
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    lines = []
    for row in rows:
        line = Image.new(
            "RGB", (columns * width + (columns - 1) * gap, max(t.height for t in row)), background
        )
        for column, tile in enumerate(row):
            line.paste(tile, (column * (width + gap), 0))
        lines.append(line)
    return stack(lines, gap, background)


def legend(entries: Sequence[tuple[str, Color]], width: int, size: int = 14) -> Image.Image:
    """Swatches with names in as many lines as needed."""
    face = font(size)
    swatch, space = size + 2, 18
    x = y = 0
    line = size + 10
    places = []
    for name, _ in entries:
        needed = swatch + 6 + face.getlength(name)
        if x and x + needed > width:
            x, y = 0, y + line
        places.append((x, y))
        x += round(needed) + space
    sheet = Image.new("RGB", (width, y + line), WHITE)
    draw = ImageDraw.Draw(sheet)
    for (name, color), (x, y) in zip(entries, places, strict=True):
        draw.rectangle((x, y + 2, x + swatch - 2, y + swatch), fill=color, outline=FAINT)
        draw.text((x + swatch + 6, y + 2 + swatch / 2), name, fill=INK, font=face, anchor="lm")
    return sheet


def class_legend(classes: Classes, present: set[int], width: int) -> Image.Image:
    """The legend of a taxonomy and of unlabelled pixels."""
    shown = range(len(classes.names))
    if len(classes.names) > LEGEND_MAX:
        shown = [i for i in shown if i in present]  # type: ignore[assignment]
    entries = [(classes.name(i), classes.color(i)) for i in shown]
    return legend([*entries, (UNLABELLED_NAME, UNLABELLED_COLOR)], width)


def color_bar(low: float, high: float, width: int, size: int = 13) -> Image.Image:
    """A horizontal viridis bar with its ends and its middle written below."""
    sheet = Image.new("RGB", (width, 12 + size + 5), WHITE)
    ramp = heat(np.linspace(0, 1, width, dtype=np.float32)[None].repeat(10, axis=0), 0, 1)
    sheet.paste(Image.fromarray(ramp), (0, 1))
    draw = ImageDraw.Draw(sheet)
    for x, value, anchor in (
        (0, low, "la"),
        (width / 2, (low + high) / 2, "ma"),
        (width, high, "ra"),
    ):
        draw.text((x, 13), number(value), fill=INK, font=font(size), anchor=anchor)
    return sheet
