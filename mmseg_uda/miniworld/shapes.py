"""Brush strokes of the miniature world: boxes, billboards, ground patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmseg_uda.miniworld.canvas import Array, Canvas
from mmseg_uda.miniworld.style import Style

DARK = np.array([24.0, 25, 28])
GLASS = np.array([56.0, 70, 88])
LAMP_FRONT = np.array([250.0, 246, 220])
LAMP_REAR = np.array([214.0, 30, 26])

Rectangle = tuple[float, float, float, float]
_CIRCLE = np.linspace(0, 2 * np.pi, 13)[:-1]


@dataclass
class Brush:
    """A canvas together with the domain's colours and this image's random stream."""

    canvas: Canvas
    style: Style
    rng: np.random.Generator

    def colour(self, class_id: int) -> Array:
        """A random (3,) RGB colour of the class, around one of its four palette entries."""
        anchor = self.style.palette[class_id, self.rng.integers(4)]
        return np.clip(anchor + self.rng.normal(0, self.style.jitter, 3), 0, 255)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return bool(self.rng.random() < probability)

    def uniform(self, low: float, high: float) -> float:
        """A uniform random number."""
        return float(self.rng.uniform(low, high))


@dataclass(frozen=True)
class Box:
    """A cuboid turned about the vertical axis; yaw 0 looks away from the camera.

    Attributes:
        x, z: Centre on the ground in metres.
        yaw: Rotation in radians.
        length, width: Extent along and across its own direction.
        bottom, top: Heights above the ground.
        taper: Metres by which front and rear lean inwards at the top.
    """

    x: float
    z: float
    yaw: float
    length: float
    width: float
    bottom: float
    top: float
    taper: float = 0.0

    def world(self, along: Array, across: Array, up: Array) -> Array:
        """World points (N, 3) of points in the box's own frame."""
        sin, cos = np.sin(self.yaw), np.cos(self.yaw)
        x = self.x + across * cos + along * sin
        z = self.z - across * sin + along * cos
        return np.stack([x, up, z], axis=1)

    def face(self, name: str, part: Rectangle = (0, 0, 1, 1)) -> Array:
        """(4, 3) corners of a part (u0, v0, u1, v1) of the face, v from the bottom up."""
        u = np.array([part[0], part[2], part[2], part[0]])
        v = np.array([part[1], part[1], part[3], part[3]])
        half, side = self.length / 2, self.width / 2
        up = self.bottom + v * (self.top - self.bottom)
        lean = self.taper * v
        if name in ("front", "rear"):
            sign = 1 if name == "front" else -1
            return self.world(sign * (half - lean), (u - 0.5) * self.width, up)
        if name in ("left", "right"):
            sign = 1 if name == "right" else -1
            return self.world((u - 0.5) * (self.length - 2 * lean), np.full(4, sign * side), up)
        along = (v - 0.5) * (self.length - 2 * self.taper)
        return self.world(along, (u - 0.5) * self.width, np.full(4, self.top))

    def visible(self, name: str, eye: float) -> bool:
        """Whether the camera at (0, eye, 0) is on the outer side of the face."""
        if name == "top":
            return eye > self.top
        sin, cos = np.sin(self.yaw), np.cos(self.yaw)
        along, across = -(self.x * sin + self.z * cos), -(self.x * cos - self.z * sin)
        limits = {
            "front": along > self.length / 2,
            "rear": along < -self.length / 2,
            "right": across > self.width / 2,
            "left": across < -self.width / 2,
        }
        return bool(limits[name])

    def seen(self, eye: float) -> list[str]:
        """The faces that the camera sees."""
        faces = ("front", "rear", "left", "right", "top")
        return [name for name in faces if self.visible(name, eye)]


_SHADE = {"front": 0.92, "rear": 0.92, "left": 0.8, "right": 1.0, "top": 1.12}


def paint_box(brush: Brush, box: Box, class_id: int, colour: Array) -> list[str]:
    """Paints all visible faces with simple shading; returns their names."""
    seen = box.seen(brush.canvas.camera.eye)
    for name in seen:
        brush.canvas.paint([box.face(name)], class_id, colour * _SHADE[name])
    return seen


def paint_on_face(
    brush: Brush, box: Box, name: str, parts: Sequence[Rectangle], class_id: int, colour: Array
) -> None:
    """Paints rectangles (u0, v0, u1, v1) of one face."""
    brush.canvas.paint([box.face(name, p) for p in parts], class_id, colour)


def billboard(x: float, z: float, outline: Array) -> Array:
    """World points of an upright outline (N, 2) of (sideways, height) metres facing the camera."""
    points = np.empty((len(outline), 3))
    points[:, 0] = x + outline[:, 0]
    points[:, 1] = outline[:, 1]
    points[:, 2] = z
    return points


def rectangle(x0: float, y0: float, x1: float, y1: float) -> Array:
    """Outline (4, 2) of a rectangle."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def ellipse(x: float, y: float, radius_x: float, radius_y: float | None = None) -> Array:
    """Outline (12, 2) of an ellipse."""
    radius_y = radius_x if radius_y is None else radius_y
    return np.stack([x + radius_x * np.cos(_CIRCLE), y + radius_y * np.sin(_CIRCLE)], axis=1)


def bar(x0: float, y0: float, x1: float, y1: float, width: float) -> Array:
    """Outline (4, 2) of a thick line."""
    direction = np.array([x1 - x0, y1 - y0])
    normal = np.array([-direction[1], direction[0]]) / max(np.hypot(*direction), 1e-6) * width / 2
    first, last = np.array([x0, y0]), np.array([x1, y1])
    return np.array([first - normal, last - normal, last + normal, first + normal])


def paint_upright(
    brush: Brush, x: float, z: float, outlines: Sequence[Array], class_id: int, colour: Array
) -> None:
    """Paints upright outlines that face the camera at distance z."""
    brush.canvas.paint([billboard(x, z, o) for o in outlines], class_id, colour)


def ground(x0: float, x1: float, z0: float, z1: float, height: float = 0.0) -> Array:
    """Corners (4, 3) of a horizontal rectangle."""
    return np.array([[x0, height, z0], [x1, height, z0], [x1, height, z1], [x0, height, z1]])


def paint_shadow(brush: Brush, box: Box, grow: float = 0.15) -> None:
    """Darkens the ground below a box."""
    wide = Box(box.x, box.z, box.yaw, box.length + 2 * grow, box.width + 2 * grow, 0, 0.0)
    brush.canvas.paint([wide.face("top")], None, DARK, opacity=0.55)


def paint_wheels(brush: Brush, box: Box, class_id: int, radius: float, places: Sequence[float]):
    """Paints dark wheels on the side that the camera sees, at shares of the length."""
    reach = radius / box.length
    height = box.top - box.bottom
    foot = (0.0 - box.bottom) / height
    crown = (2 * radius - box.bottom) / height
    for name in ("left", "right"):
        if not box.visible(name, brush.canvas.camera.eye):
            continue
        for place in places:
            middle, half = (foot + crown) / 2, (crown - foot) / 2
            corners = box.face(name)
            u = place + reach * np.cos(_CIRCLE)
            v = middle + half * np.sin(_CIRCLE)
            origin, along, up = corners[0], corners[1] - corners[0], corners[3] - corners[0]
            wheel = origin + u[:, None] * along + v[:, None] * up
            brush.canvas.paint([wheel], class_id, DARK)
