"""People, poles, signs, lights, trees and everything that borders a street."""

from __future__ import annotations

import numpy as np

from mmseg_uda.miniworld.canvas import Array, Ids
from mmseg_uda.miniworld.shapes import (
    DARK,
    GLASS,
    Box,
    Brush,
    bar,
    ellipse,
    ground,
    paint_box,
    paint_on_face,
    paint_upright,
    rectangle,
)

_SKIN = np.array([214.0, 168, 138])


def draw_person(brush: Brush, x: float, z: float) -> None:
    """A walking person with a wide torso."""
    coat, trousers = brush.colour(Ids.PERSON), brush.colour(Ids.PERSON) * 0.6
    size, stride = brush.uniform(1.0, 1.2), brush.uniform(0.1, 0.3)
    brush.canvas.begin_object()
    brush.canvas.paint([ground(x - 0.4, x + 0.4, z - 0.3, z + 0.3)], None, DARK, 0.4)
    legs = [bar(-0.15, 0.85 * size, -stride, 0, 0.32), bar(0.15, 0.85 * size, stride, 0, 0.32)]
    for leg in legs:
        paint_upright(brush, x, z, [leg], Ids.PERSON, trousers)
    torso = np.array([[-0.36, 0.75], [0.36, 0.75], [0.44, 1.48], [-0.44, 1.48]]) * size
    paint_upright(brush, x, z, [torso], Ids.PERSON, coat)
    arms = [bar(-0.5, 1.46 * size, -0.56, 0.8 * size, 0.2)]
    arms.append(bar(0.5, 1.46 * size, 0.56, 0.8 * size, 0.2))
    paint_upright(brush, x, z, arms, Ids.PERSON, coat * 0.8)
    paint_upright(brush, x, z, [ellipse(0, 1.65 * size, 0.22, 0.24)], Ids.PERSON, _SKIN)
    hair = rectangle(-0.2, 1.74 * size, 0.2, 1.9 * size)
    paint_upright(brush, x, z, [hair], Ids.PERSON, DARK * brush.uniform(1, 4))
    brush.canvas.end_object()


def draw_pole(brush: Brush, x: float, z: float, height: float, arm: float = 0.0) -> None:
    """A pole 0.36 m thick, with a horizontal arm of ``arm`` metres."""
    colour = brush.colour(Ids.POLE)
    outlines = [rectangle(-0.18, 0, 0.18, height)]
    if arm:
        left, right = sorted((0.0, arm))
        outlines.append(rectangle(left, height - 0.36, right, height))
    for outline in outlines:
        paint_upright(brush, x, z, [outline], Ids.POLE, colour)
    paint_upright(brush, x, z, [rectangle(-0.18, 0, -0.06, height)], Ids.POLE, colour * 0.75)


def draw_sign(brush: Brush, x: float, z: float, height: float) -> None:
    """A round, triangular or square plate of 0.6 m radius on a pole."""
    draw_pole(brush, x, z, height)
    face, y = brush.colour(Ids.SIGN), height
    kind = brush.rng.integers(3)
    if kind == 0:
        outer, inner = ellipse(0, y, 0.62), ellipse(0, y, 0.4)
    elif kind == 1:
        outer = np.array([[-0.72, y - 0.5], [0.72, y - 0.5], [0, y + 0.75]])
        inner = np.array([[-0.4, y - 0.3], [0.4, y - 0.3], [0, y + 0.4]])
    else:
        outer, inner = (
            rectangle(-0.6, y - 0.6, 0.6, y + 0.6),
            rectangle(-0.42, y - 0.15, 0.42, y + 0.15),
        )
    contrast = np.array([240.0, 240, 236]) if face.mean() < 150 else np.array([40.0, 44, 60])
    brush.canvas.begin_object()
    paint_upright(brush, x, z - 0.05, [outer], Ids.SIGN, face)
    paint_upright(brush, x, z - 0.05, [inner], Ids.SIGN, contrast)
    brush.canvas.end_object()


def draw_traffic_light(brush: Brush, x: float, z: float, height: float, arm: float = 0.0) -> None:
    """A 0.7 × 1.8 m box with three lamps, one of them lit."""
    draw_pole(brush, x, z, height + (0.3 if arm else -0.4), arm)
    places = [(0.0, height - 1.4)] + ([(arm, height)] if arm else [])
    lamps = np.array([[236.0, 40, 36], [240, 180, 40], [50, 220, 110]])
    for offset, y in places:
        body = brush.colour(Ids.LIGHT)
        brush.canvas.begin_object()
        box = rectangle(offset - 0.38, y - 0.95, offset + 0.38, y + 0.95)
        paint_upright(brush, x, z - 0.1, [box], Ids.LIGHT, body)
        lit = brush.rng.integers(3)
        for k in range(3):
            glow = lamps[k] * (1.0 if k == lit else 0.3)
            lamp = ellipse(offset, y + 0.58 - 0.58 * k, 0.24)
            paint_upright(brush, x, z - 0.1, [lamp], Ids.LIGHT, glow)
        brush.canvas.end_object()


def draw_tree(brush: Brush, x: float, z: float, scale: float) -> None:
    """A trunk and a crown of overlapping discs."""
    colour = brush.colour(Ids.VEGETATION)
    trunk = np.array([92.0, 72, 54]) * brush.uniform(0.7, 1.1)
    bole = rectangle(-0.18, 0, 0.18, 2.6 * scale)
    paint_upright(brush, x, z, [bole], Ids.VEGETATION, trunk)
    for _ in range(7):
        dx, dy = brush.rng.normal(0, 0.75 * scale, 2)
        radius = brush.uniform(0.7, 1.2) * scale
        shade = 0.75 + 0.08 * (dy / scale + 2) * brush.uniform(0.8, 1.2)
        disc = ellipse(dx, max(3.6 * scale + dy, radius), radius, radius * 0.85)
        paint_upright(brush, x, z - brush.uniform(0, 0.1), [disc], Ids.VEGETATION, colour * shade)


def draw_bush(brush: Brush, x: float, z: float, scale: float) -> None:
    """A low group of discs on the ground."""
    colour = brush.colour(Ids.VEGETATION)
    for _ in range(4):
        radius = brush.uniform(0.5, 0.9) * scale
        disc = ellipse(brush.uniform(-0.9, 0.9) * scale, radius * 0.8, radius, radius)
        paint_upright(brush, x, z, [disc], Ids.VEGETATION, colour * brush.uniform(0.8, 1.15))


def _side_box(side: int, x: float, z0: float, z1: float, depth: float, top: float) -> Box:
    """A box along the street whose inner face is at |X| = x."""
    center = side * (x + depth / 2)
    return Box(center, (z0 + z1) / 2, 0.0, z1 - z0, depth, 0, top)


def draw_building(brush: Brush, side: int, x: float, z0: float, z1: float) -> None:
    """A house front with rows of windows, a darker base and a roof edge."""
    colour, height = brush.colour(Ids.BUILDING), brush.uniform(6, 18)
    house = _side_box(side, x, z0, z1, 9.0, height)
    glass = GLASS * brush.uniform(0.7, 1.6)
    storeys = max(2, min(5, int(height / 3)))
    for name in paint_box(brush, house, Ids.BUILDING, colour):
        if name == "top":
            continue
        count = max(2, min(6, round((z1 - z0) / 3))) if name in ("left", "right") else 3
        windows = []
        for storey in range(storeys):
            low = (storey + 0.35) / storeys
            for i in range(count):
                left = (i + 0.25) / count
                windows.append((left, low, left + 0.5 / count, low + 0.42 / storeys))
        paint_on_face(brush, house, name, windows, Ids.BUILDING, glass)
        paint_on_face(brush, house, name, [(0, 0, 1, 0.8 / height)], Ids.BUILDING, colour * 0.6)
        paint_on_face(
            brush, house, name, [(0, 1 - 0.6 / height, 1, 1)], Ids.BUILDING, colour * 0.75
        )


def draw_wall(brush: Brush, side: int, x: float, z0: float, z1: float) -> None:
    """A solid wall with courses of stone."""
    colour, height = brush.colour(Ids.WALL), brush.uniform(2.2, 4.0)
    wall = _side_box(side, x, z0, z1, 0.5, height)
    for name in paint_box(brush, wall, Ids.WALL, colour):
        if name != "top":
            courses = [(0, v - 0.02, 1, v + 0.02) for v in (0.25, 0.5, 0.75)]
            paint_on_face(brush, wall, name, courses, Ids.WALL, colour * 0.7)
            paint_on_face(brush, wall, name, [(0, 0.92, 1, 1)], Ids.WALL, colour * 1.2)


def draw_fence(brush: Brush, side: int, x: float, z0: float, z1: float) -> None:
    """Pickets on a paler ground: what is seen through the holes is labelled fence as well."""
    colour, height = brush.colour(Ids.FENCE), brush.uniform(1.8, 3.0)
    fence = _side_box(side, x, z0, z1, 0.2, height)
    backdrop = 0.3 * colour + 0.4 * brush.style.palette[Ids.TERRAIN].mean(0)
    for name in paint_box(brush, fence, Ids.FENCE, backdrop):
        if name == "top":
            continue
        count = int(np.clip((z1 - z0) / 0.9, 4, 24)) if name in ("left", "right") else 2
        pickets = [((i + 0.2) / count, 0, (i + 0.65) / count, 1) for i in range(count)]
        paint_on_face(brush, fence, name, pickets, Ids.FENCE, colour)
        rails = [(0, 0.25, 1, 0.35), (0, 0.8, 1, 0.9)]
        paint_on_face(brush, fence, name, rails, Ids.FENCE, colour * 0.9)


def draw_hedge(brush: Brush, side: int, x: float, z0: float, z1: float) -> None:
    """A long hedge with tree crowns on top."""
    colour, height = brush.colour(Ids.VEGETATION), brush.uniform(2.2, 4.5)
    hedge = _side_box(side, x, z0, z1, 3.0, height)
    paint_box(brush, hedge, Ids.VEGETATION, colour)
    for z in np.arange(max(z0, 4), z1, 4.0)[::-1]:
        radius = brush.uniform(1.2, 2.4)
        disc = ellipse(side * brush.uniform(-0.2, 1.5), height, radius, radius * 0.9)
        shade = colour * brush.uniform(0.8, 1.15)
        paint_upright(brush, side * (x + 0.4), float(z), [disc], Ids.VEGETATION, shade)


def draw_far_end(brush: Brush, z: float, classes: Array, heights: Array) -> None:
    """What closes the street at the horizon: blocks of buildings and trees."""
    edges = np.linspace(-160, 160, len(classes) + 1)
    for left, right, class_id, height in zip(edges[:-1], edges[1:], classes, heights, strict=True):
        block = rectangle(left, 0, right, height)
        paint_upright(brush, 0.0, z, [block], int(class_id), brush.colour(int(class_id)))
