"""Boxes with names over a picture; names never cover each other."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from mmseg_uda.engine.panels import Boxes
from mmseg_uda.visualization.canvas import INK, WHITE, Classes, Color, font, number

PLAIN_COLOR: Color = (255, 255, 0)
TEXT_SIZE = 12
DASH = 5

Rect = tuple[float, float, float, float]


def draw_boxes(
    picture: Image.Image, boxes: Boxes, index: int, size: tuple, classes: Classes
) -> str:
    """Draws the boxes of one image in place.

    Names are placed in descending order of score, above, inside or below their box where nothing
    else is written yet; a name without a place is left out.

    Args:
        picture: The panel's picture as it is shown.
        boxes: Of the whole batch, on the host.
        index: Image of the batch.
        size: (height, width) to which the corners refer.
        classes: Names and colours.

    Returns:
        How many boxes there are, were rejected, or have no name; '' for a single box.
    """
    corners = boxes.corners.numpy()
    mine = [i for i in range(len(corners)) if corners[i, 0] == index]
    if boxes.scores is not None:
        scores = boxes.scores.float().numpy()
        mine.sort(key=lambda i: -np.nan_to_num(scores[i], nan=-math.inf))
    scale = (picture.width / size[1], picture.height / size[0]) * 2
    draw = ImageDraw.Draw(picture)
    rects: dict[int, Rect] = {}
    # The strongest box is drawn last, on top.
    for i in reversed(mine):
        x0, y0, x1, y1 = (float(v) * s for v, s in zip(corners[i, 1:], scale, strict=True))
        # The right and lower ends are exclusive, and a line inside the picture can be seen.
        rects[i] = (x0, y0, min(max(x1 - 1, x0), picture.width - 1), max(y1 - 1, y0))
        _outline(draw, rects[i], _color(boxes, i, classes), _rejected(boxes, i))
    taken: list[Rect] = []
    for i in mine:
        _write(draw, picture, rects[i], _text(boxes, i, classes), taken)
    return _summary(boxes, mine, len(mine) - len(taken))


def _color(boxes: Boxes, i: int, classes: Classes) -> Color:
    return PLAIN_COLOR if boxes.classes is None else classes.color(int(boxes.classes[i]))


def _rejected(boxes: Boxes, i: int) -> bool:
    return boxes.accepted is not None and not bool(boxes.accepted[i])


def _text(boxes: Boxes, i: int, classes: Classes) -> str:
    text = ""
    if boxes.texts:
        text = boxes.texts[i]
    elif boxes.classes is not None:
        text = classes.name(int(boxes.classes[i]))
    if boxes.scores is not None and math.isfinite(float(boxes.scores[i])):
        text = f"{text} {number(float(boxes.scores[i]))}"
    return text.strip()


def _outline(draw: ImageDraw.ImageDraw, rect: Rect, color: Color, dashed: bool) -> None:
    x0, y0, x1, y1 = rect
    # A dark class colour on a dark street would be lost without the light line around it.
    around = (x0 - 1, y0 - 1, x1 + 1, y1 + 1)
    inner = (x0 + 2, y0 + 2, max(x1 - 2, x0 + 2), max(y1 - 2, y0 + 2))
    if not dashed:
        draw.rectangle(around, outline=WHITE)
        draw.rectangle(inner, outline=WHITE)
        draw.rectangle(rect, outline=color, width=2)
        return
    for start, end in (
        ((x0, y0), (x1, y0)),
        ((x1, y0), (x1, y1)),
        ((x1, y1), (x0, y1)),
        ((x0, y1), (x0, y0)),
    ):
        length = math.dist(start, end)
        steps = max(1, int(length // DASH))
        for k in range(0, steps + 1):
            a, b = k / (steps + 1), (k + 1) / (steps + 1)
            segment = [
                (start[0] + (end[0] - start[0]) * t, start[1] + (end[1] - start[1]) * t)
                for t in (a, b)
            ]
            draw.line(segment, fill=WHITE if k % 2 else color, width=2)


def _write(
    draw: ImageDraw.ImageDraw, picture: Image.Image, rect: Rect, text: str, taken: list[Rect]
) -> None:
    if not text:
        taken.append((0, 0, 0, 0))
        return
    face = font(TEXT_SIZE)
    width, height = face.getlength(text) + 6, TEXT_SIZE + 5
    x0, y0, x1, y1 = rect
    left = min(max(x0, 0), picture.width - width)
    right = min(max(x1 - width, 0), picture.width - width)
    for x in (left, right):
        for y in (y0 - height, y0 + 2, y1 - height - 1, y1 + 2):
            place = (x, y, x + width, y + height)
            inside = x >= 0 and y >= 0 and y + height <= picture.height
            if inside and not any(_overlap(place, other) for other in taken):
                draw.rectangle((x, y, x + width - 1, y + height - 1), fill=WHITE, outline=INK)
                draw.text((x + 3, y + height / 2), text, fill=INK, font=face, anchor="lm")
                taken.append(place)
                return


def _overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _summary(boxes: Boxes, mine: list[int], unnamed: int) -> str:
    if len(mine) == 1 and not unnamed and boxes.accepted is None:
        return ""
    parts = [f"{len(mine)} box{'' if len(mine) == 1 else 'es'}"]
    if boxes.accepted is not None and mine:
        parts.append(f"{sum(_rejected(boxes, i) for i in mine)} rejected")
    if unnamed:
        parts.append(f"{unnamed} names left out")
    return ", ".join(parts)
