"""One picture of a training step: a section per image, a tile per panel, one legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from mmseg_uda.engine.panels import BarsPanel, ImagePanel, LabelPanel, MapPanel, Panel
from mmseg_uda.visualization.boxes import draw_boxes
from mmseg_uda.visualization.canvas import (
    FAINT,
    GRID,
    INK,
    NOT_FINITE_COLOR,
    WHITE,
    Classes,
    Color,
    class_legend,
    color_bar,
    fit,
    font,
    grid,
    heat,
    legend,
    number,
    shorten,
    stack,
)

MARGIN = 24
GAP = 18
TITLE_SIZE, TEXT_SIZE, HEAD_SIZE = 15, 13, 20
BAR_HEIGHT = 15
#: Colours of a bar panel's series where the classes' own would not tell them apart.
SERIES_COLORS: tuple[Color, ...] = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (148, 103, 189))


def panel_picture(
    panels: Sequence[Panel],
    classes: Classes,
    title: str,
    images: int,
    columns: int = 5,
    tile: int = 320,
) -> Image.Image:
    """Draws the panels of a step.

    Args:
        panels: As :meth:`Snapshot.wait` returns them, on the host.
        classes: Names and colours of the label space.
        title: Headline.
        images: How many images of the batch to draw, at most.
        columns: Tiles beside each other.
        tile: Width of a tile in pixels.
    """
    width = columns * tile + (columns - 1) * GAP
    blocks = [_headline(title, width), class_legend(classes, _present(panels), width)]
    for index in range(min(images, max(map(_count, panels), default=0))):
        tiles = [_tile(p, index, classes, tile) for p in panels if index < _count(p)]
        blocks.append(_section(f"Image {index + 1}", width))
        blocks.append(grid(tiles, columns, tile, GAP))
    sheet = stack(blocks, GAP)
    framed = Image.new("RGB", (sheet.width + 2 * MARGIN, sheet.height + 2 * MARGIN), WHITE)
    framed.paste(sheet, (MARGIN, MARGIN))
    return framed


def _count(panel: Panel) -> int:
    """Number of images that a panel shows."""
    if isinstance(panel, ImagePanel):
        return len(panel.image)
    if isinstance(panel, LabelPanel):
        return len(panel.label)
    if isinstance(panel, MapPanel):
        return len(panel.values)
    return max((1 if v.dim() == 1 else len(v) for v in panel.series.values()), default=0)


def _present(panels: Sequence[Panel]) -> set[int]:
    found: set[int] = set()
    for panel in panels:
        if isinstance(panel, LabelPanel):
            found |= set(np.unique(panel.label.numpy()).tolist())
        elif isinstance(panel, BarsPanel) and panel.names is None:
            found |= set(range(len(next(iter(panel.series.values()), []))))
    return found


def _headline(title: str, width: int) -> Image.Image:
    block = Image.new("RGB", (width, HEAD_SIZE + 8), WHITE)
    face = font(HEAD_SIZE, bold=True)
    ImageDraw.Draw(block).text((0, 0), shorten(title, width, face), fill=INK, font=face)
    return block


def _section(title: str, width: int) -> Image.Image:
    block = Image.new("RGB", (width, TITLE_SIZE + 12), WHITE)
    draw = ImageDraw.Draw(block)
    draw.line((0, 2, width, 2), fill=GRID, width=2)
    draw.text((0, 10), title, fill=FAINT, font=font(TITLE_SIZE, bold=True))
    return block


def _tile(panel: Panel, index: int, classes: Classes, width: int) -> Image.Image:
    """Title, picture, colour bar and captions of one panel for one image."""
    parts = [_line(panel.title, width, TITLE_SIZE, bold=True)]
    if isinstance(panel, BarsPanel):
        parts += _bars(panel, index, classes, width)
    else:
        parts += _picture(panel, index, classes, width)
    if index < len(panel.captions) and panel.captions[index]:
        parts.append(_line(panel.captions[index], width, TEXT_SIZE, color=FAINT))
    return stack(parts, 3)


def _picture(panel: Panel, index: int, classes: Classes, width: int) -> list[Image.Image]:
    below: list[Image.Image] = []
    if isinstance(panel, ImagePanel):
        raw = panel.image[index].permute(1, 2, 0).numpy()
        shown = fit(np.ascontiguousarray(raw), width, smooth=True)
    elif isinstance(panel, LabelPanel):
        raw = panel.label[index].numpy()
        shown = fit(classes.paint(raw), width, smooth=False)
    else:
        assert isinstance(panel, MapPanel)
        raw = panel.values[index].numpy()
        finite = raw[np.isfinite(raw)]
        extremes = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        low, high = panel.limits or extremes
        shown = fit(heat(raw, low, high), width, smooth=False)
        below.append(color_bar(low, high, shown.width))
        mean = f"mean {number(float(finite.mean()))}" if finite.size else "nothing finite"
        outside = _outside(extremes, low, high) if finite.size else ""
        below.append(_line(mean + outside, width, TEXT_SIZE, color=FAINT))
        if finite.size < raw.size:
            below.append(legend([("not finite", NOT_FINITE_COLOR)], width, TEXT_SIZE))
    if panel.boxes is not None:
        text = draw_boxes(shown, panel.boxes, index, raw.shape[:2], classes)
        if text:
            below.insert(0, _line(text, width, TEXT_SIZE, color=FAINT))
    framed = Image.new("RGB", (width, shown.height), WHITE)
    framed.paste(shown, (0, 0))
    return [framed, *below]


def _outside(extremes: tuple[float, float], low: float, high: float) -> str:
    """Says so when values lie beyond the colour bar."""
    if extremes[0] >= low and extremes[1] <= high:
        return ""
    return f", from {number(extremes[0])} to {number(extremes[1])}"


def _bars(panel: BarsPanel, index: int, classes: Classes, width: int) -> list[Image.Image]:
    rows = {
        name: (v if v.dim() == 1 else v[min(index, len(v) - 1)]).numpy()
        for name, v in panel.series.items()
    }
    count = max(len(values) for values in rows.values())
    names = panel.names or [classes.name(i) for i in range(count)]
    known = np.concatenate([v[np.isfinite(v)] for v in rows.values()])
    low, high = panel.limits or (min(0.0, known.min(initial=0.0)), known.max(initial=0.0))
    high = high if high > low else low + 1.0
    face = font(TEXT_SIZE - 1)
    several = len(rows) > 1
    left = min(max(face.getlength(name) for name in names), width * 0.4) + 26
    right = width - face.getlength("-0.000") - 8
    line = BAR_HEIGHT * len(rows) + 3
    sheet = Image.new("RGB", (width, line * count + 4), WHITE)
    draw = ImageDraw.Draw(sheet)

    def place(value: float) -> float:
        return left + (right - left) * float(np.clip((value - low) / (high - low), 0, 1))

    zero = place(0.0)
    draw.line((zero, 0, zero, sheet.height), fill=GRID)
    for i in range(count):
        top = i * line + 2
        middle = top + (line - 3) / 2
        if panel.names is None:
            draw.rectangle((0, middle - 5, 10, middle + 5), fill=classes.color(i), outline=FAINT)
        name = shorten(names[i], left - 22, face)
        draw.text((left - 5, middle), name, fill=INK, font=face, anchor="rm")
        for k, values in enumerate(rows.values()):
            if i >= len(values) or not np.isfinite(values[i]):
                continue
            y = top + k * BAR_HEIGHT
            own = panel.names is None and not several
            color = classes.color(i) if own else SERIES_COLORS[k % len(SERIES_COLORS)]
            ends = sorted((zero, place(float(values[i]))))
            draw.rectangle((ends[0], y + 1, ends[1], y + BAR_HEIGHT - 2), fill=color, outline=FAINT)
            text = number(float(values[i]))
            draw.text((width, y + BAR_HEIGHT / 2), text, fill=INK, font=face, anchor="rm")
    parts = [sheet]
    if several:
        colors = [SERIES_COLORS[k % len(SERIES_COLORS)] for k in range(len(rows))]
        parts.append(legend(list(zip(rows, colors, strict=True)), width, TEXT_SIZE))
    return parts


def _line(text: str, width: int, size: int, bold: bool = False, color: Color = INK) -> Image.Image:
    face = font(size, bold)
    block = Image.new("RGB", (width, size + 5), WHITE)
    ImageDraw.Draw(block).text((0, 1), shorten(text, width, face), fill=color, font=face)
    return block
