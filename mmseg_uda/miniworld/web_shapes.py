"""Brush strokes for what only the web-like domain shows: piles, ponds, hills, tunnels, boats."""

from __future__ import annotations

import numpy as np

from mmseg_uda.miniworld.canvas import Array
from mmseg_uda.miniworld.detail_classes import Detail
from mmseg_uda.miniworld.layout import Plan
from mmseg_uda.miniworld.shapes import DARK, GLASS, Brush, ellipse, ground, paint_upright, rectangle

_WHITE = np.array([238.0, 238, 234])


def _patch(brush: Brush, x: float, z: float, radius: float) -> Array:
    """A ragged patch (12, 3) on the ground."""
    angle = np.linspace(0, 2 * np.pi, 13)[:-1]
    reach = radius * brush.rng.uniform(0.65, 1.2, 12)
    points = np.zeros((12, 3))
    points[:, 0], points[:, 2] = x + reach * np.cos(angle), z + reach * np.sin(angle)
    return points


def draw_pile(brush: Brush, x: float, z: float, id_: Detail) -> None:
    """A heap of snow or sand: flat at its foot, several rounded tops."""
    colour = brush.colour(id_)
    brush.canvas.paint([_patch(brush, x, z, 1.7)], id_, colour * 0.92)
    brush.canvas.begin_object()
    for _ in range(4):
        half, top = brush.uniform(0.6, 1.2), brush.uniform(0.3, 0.9)
        shift = brush.uniform(-0.7, 0.7)
        outline = ellipse(shift, 0.0, half, top)
        shade = colour * brush.uniform(0.85, 1.05)
        paint_upright(brush, x, z - brush.uniform(0, 0.4), [outline], id_, shade)
    brush.canvas.end_object()


def draw_pond(brush: Brush, x: float, z: float) -> None:
    """Water with paler ripples across the view."""
    colour, id_ = brush.colour(Detail.WATER), Detail.WATER
    brush.canvas.paint([_patch(brush, x, z, brush.uniform(1.6, 3.0))], id_, colour)
    for _ in range(5):
        u, v = x + brush.uniform(-1.0, 1.0), z + brush.uniform(-1.0, 1.0)
        ripple = ground(u - 0.5, u + 0.5, v, v + 0.1)
        brush.canvas.paint([ripple], None, np.clip(colour * 1.5, 0, 255), 0.7)


def draw_pothole(brush: Brush, x: float, z: float) -> None:
    """A ragged hole with a paler edge."""
    colour, id_ = brush.colour(Detail.POTHOLE), Detail.POTHOLE
    brush.canvas.paint([_patch(brush, x, z, 0.85)], id_, colour * 1.35)
    brush.canvas.paint([_patch(brush, x, z, 0.6)], id_, colour * 0.8)


def draw_pedestrian_area(brush: Brush, x: float, z: float) -> None:
    """A square of large slabs with dark joints."""
    colour, id_ = brush.colour(Detail.PEDESTRIAN_AREA), Detail.PEDESTRIAN_AREA
    half = 2.2
    brush.canvas.paint([ground(x - half, x + half, z - half, z + half)], id_, colour)
    joints = [ground(x - half, x + half, z + d, z + d + 0.12) for d in np.arange(-1.8, 2.0, 0.9)]
    joints += [ground(x + d, x + d + 0.1, z - half, z + half) for d in np.arange(-1.8, 2.0, 0.9)]
    brush.canvas.paint(joints, None, colour * 0.6, 0.9)


def draw_mountains(brush: Brush, z: float) -> None:
    """Peaks with pale tops along the horizon."""
    colour, id_ = brush.colour(Detail.MOUNTAIN), Detail.MOUNTAIN
    for x in np.arange(-120, 120, 34):
        half, top = brush.uniform(24, 40), brush.uniform(22, 46)
        peak = np.array([[-half, 0], [half, 0], [half * 0.1, top]]) + (x, 0)
        paint_upright(brush, 0.0, z, [peak], id_, colour * brush.uniform(0.85, 1.1))
        cap = np.array([[-half * 0.17, top * 0.72], [half * 0.35, top * 0.72], [half * 0.1, top]])
        paint_upright(brush, 0.0, z, [cap + (x, 0)], id_, _WHITE)


def draw_tunnel(brush: Brush, x: float, z: float, half: float) -> None:
    """A wall across the road with a dark round mouth."""
    colour, id_ = brush.colour(Detail.TUNNEL), Detail.TUNNEL
    brush.canvas.begin_object()
    paint_upright(brush, x, z, [rectangle(-2.2 * half, 0, 2.2 * half, 6.5)], id_, colour)
    rows = [rectangle(-2.2 * half, y, 2.2 * half, y + 0.15) for y in (1.5, 3.0, 4.5, 6.0)]
    paint_upright(brush, x, z, rows, id_, colour * 0.75)
    arch = np.concatenate([rectangle(-half, 0, half, 3.0)[:2], ellipse(0, 3.0, half, 2.0)[:7]])
    paint_upright(brush, x, z - 0.05, [arch], id_, DARK * 0.8)
    brush.canvas.end_object()


def draw_sign_frame(brush: Brush, x: float, z: float) -> None:
    """An empty frame of bars on two posts."""
    colour, id_ = brush.colour(Detail.SIGN_FRAME), Detail.SIGN_FRAME
    outlines = [rectangle(-1.5, 0, -1.25, 4.2), rectangle(1.25, 0, 1.5, 4.2)]
    outlines += [rectangle(-1.5, y, 1.5, y + 0.25) for y in (2.4, 3.2, 4.0)]
    brush.canvas.begin_object()
    for outline in outlines:
        paint_upright(brush, x, z, [outline], id_, colour)
    brush.canvas.end_object()


def draw_boat(brush: Brush, x: float, z: float) -> None:
    """A hull that widens upwards, with a cabin and a mast."""
    colour, id_ = brush.colour(Detail.BOAT), Detail.BOAT
    brush.canvas.begin_object()
    hull = np.array([[-1.5, 0.2], [1.4, 0.2], [2.3, 1.3], [-2.0, 1.3]])
    paint_upright(brush, x, z, [hull], id_, colour)
    stripe = np.array([[-1.8, 0.85], [2.0, 0.85], [2.1, 1.05], [-1.9, 1.05]])
    paint_upright(brush, x, z, [stripe], id_, np.clip(255 - colour, 0, 255))
    paint_upright(brush, x, z, [rectangle(-1.2, 1.3, 0.6, 2.1)], id_, _WHITE)
    paint_upright(brush, x, z, [rectangle(-1.0, 1.5, 0.4, 1.9)], id_, GLASS)
    paint_upright(brush, x, z, [rectangle(0.8, 1.3, 0.95, 4.0)], id_, DARK * 2)
    sail = np.array([[1.0, 1.6], [2.1, 1.6], [1.0, 3.9]])
    paint_upright(brush, x, z, [sail], id_, _WHITE)
    brush.canvas.end_object()


def draw_curiosities(plan: Plan) -> None:
    """One or two of them in a scene."""
    brush = plan.brush

    def beside() -> tuple[float, float]:
        side = 1 if brush.chance(0.5) else -1
        return plan.offset + side * (plan.road + brush.uniform(0.8, 4)), brush.uniform(4.5, 10)

    def on_road() -> tuple[float, float]:
        return plan.offset + brush.uniform(-0.6, 0.6) * plan.road, brush.uniform(3.8, 8)

    jobs = (
        lambda: draw_pile(brush, *beside(), Detail.SNOW),
        lambda: draw_pile(brush, *beside(), Detail.SAND),
        lambda: draw_pond(brush, *(beside() if brush.chance(0.6) else on_road())),
        lambda: draw_pothole(brush, *on_road()),
        lambda: draw_pedestrian_area(brush, *beside()),
        lambda: draw_mountains(brush, 95.0),
        lambda: draw_tunnel(brush, plan.offset, brush.uniform(14, 30), plan.road + 0.3),
        lambda: draw_sign_frame(brush, *beside()),
        lambda: draw_boat(brush, *beside()),
    )
    for k in brush.rng.choice(len(jobs), 3, replace=False):
        jobs[k]()
