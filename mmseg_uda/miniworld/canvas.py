"""Camera and canvas of the miniature street world: planar polygons with exact depth.

World coordinates are metres, X to the right, Y up from the ground, Z along the viewing
direction. The inverse depth of a plane is affine in pixel coordinates, so depth and occlusion
are exact for every polygon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

NEAR = 1.0
VOID = 255
# Painting keeps what lies up to this share of depth in front: details of a face share its plane.
_DEPTH_TOLERANCE = 0.985
_SUBPIXEL_BITS = 4

Array = NDArray[np.float64]


class Ids(IntEnum):
    """trainIds of the classes that the world draws."""

    ROAD = 0
    SIDEWALK = 1
    BUILDING = 2
    WALL = 3
    FENCE = 4
    POLE = 5
    LIGHT = 6
    SIGN = 7
    VEGETATION = 8
    TERRAIN = 9
    SKY = 10
    PERSON = 11
    RIDER = 12
    CAR = 13
    TRUCK = 14
    BUS = 15
    TRAIN = 16
    MOTORCYCLE = 17
    BICYCLE = 18


@dataclass(frozen=True)
class Camera:
    """A level pinhole camera.

    Attributes:
        width, height: Image size in pixels.
        focal: Focal length in pixels.
        horizon: Row of the horizon.
        eye: Height above the ground in metres.
    """

    width: int
    height: int
    focal: float
    horizon: float
    eye: float

    @property
    def center(self) -> float:
        """Column of the optical axis."""
        return (self.width - 1) / 2

    def project(self, points: Array) -> Array:
        """Pixel coordinates (N, 2) as (column, row) of world points (N, 3) with Z > 0."""
        scale = self.focal / points[:, 2]
        columns = self.center + scale * points[:, 0]
        rows = self.horizon + scale * (self.eye - points[:, 1])
        return np.stack([columns, rows], axis=1)

    def inverse_depth(self, plane: Array) -> tuple[float, float, float] | None:
        """Coefficients (a, b, c) of 1/Z = a·column + b·row + c on the plane of ``plane``.

        Args:
            plane: (N, 3) points of which the first three are not on one line.

        Returns:
            The coefficients, or None for a plane that is seen edge-on.
        """
        origin = np.array([0.0, self.eye, 0.0])
        corner = plane[0] - origin
        (ax, ay, az), (bx, by, bz) = plane[1] - plane[0], plane[2] - plane[0]
        normal = np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
        distance = float(normal @ corner)
        if abs(distance) < 1e-9:
            return None
        nx, ny, nz = normal / distance
        a, b = nx / self.focal, -ny / self.focal
        return a, b, nz - a * self.center - b * self.horizon


def clip_near(points: Array, near: float = NEAR) -> Array:
    """The part of a polygon (N, 3) with Z ≥ near (possibly without points)."""
    z = points[:, 2]
    if z.min() >= near:
        return points
    kept = []
    for i in range(len(points)):
        p, q = points[i - 1], points[i]
        if (p[2] >= near) != (q[2] >= near):
            kept.append(p + (q - p) * ((near - p[2]) / (q[2] - p[2])))
        if q[2] >= near:
            kept.append(q)
    return np.array(kept).reshape(-1, 3)


class Canvas:
    """Colours, trainIds, instances and inverse depth of one image under construction.

    Attributes:
        image: (H, W, 3) float32 RGB in [0, 255].
        label: (H, W) uint8 trainIds, sky where nothing was painted.
        instance: (H, W) uint16, 0 for everything that is not an object.
        inverse: (H, W) float32 inverse depth in 1/m, 0 for the sky.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        shape = (camera.height, camera.width)
        self.image = np.zeros((*shape, 3), np.float32)
        self.label = np.full(shape, int(Ids.SKY), np.uint8)
        self.instance = np.zeros(shape, np.uint16)
        self.inverse = np.zeros(shape, np.float32)
        self._instance = 0
        self._last_instance = 0
        self._columns = np.arange(camera.width, dtype=np.float32)
        self._rows = np.arange(camera.height, dtype=np.float32)

    def begin_object(self) -> int:
        """What is painted until ``end_object`` belongs to one new instance; returns its number."""
        self._last_instance += 1
        self._instance = self._last_instance
        return self._instance

    def end_object(self) -> None:
        """What is painted from now on is background."""
        self._instance = 0

    def paint(
        self,
        polygons: Sequence[Array],
        class_id: int | None,
        colour: Array,
        opacity: float = 1.0,
    ) -> None:
        """Paints polygons of one plane wherever nothing nearer was painted.

        Args:
            polygons: (N, 3) world points each, all in the plane of the first one.
            class_id: trainId, or None to change colours only (shadows, stains).
            colour: (3,) RGB in [0, 255].
            opacity: Share of the new colour.
        """
        coefficients = self.camera.inverse_depth(polygons[0])
        if coefficients is None:
            return
        outlines = [clip_near(p) for p in polygons]
        outlines = [p for p in outlines if len(p) >= 3]
        if not outlines:
            return
        pixels = [self.camera.project(p) for p in outlines]
        joined = np.concatenate(pixels)
        low, high = np.floor(joined.min(0)), np.ceil(joined.max(0)) + 1
        x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
        x1 = min(int(high[0]), self.camera.width)
        y1 = min(int(high[1]), self.camera.height)
        if x0 >= x1 or y0 >= y1:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        scale = 1 << _SUBPIXEL_BITS
        shifted = [np.rint((p - (x0, y0)) * scale).astype(np.int32) for p in pixels]
        cv2.fillPoly(mask, shifted, 1, shift=_SUBPIXEL_BITS)
        a, b, c = coefficients
        window = (slice(y0, y1), slice(x0, x1))
        inverse = np.float32(a) * self._columns[x0:x1] + (
            np.float32(b) * self._rows[y0:y1] + np.float32(c)
        )[:, None].astype(np.float32)
        # Pixels that the outline only touches lie outside it, far outside on a grazing plane.
        z = np.concatenate([p[:, 2] for p in outlines])
        inverse = np.clip(inverse, np.float32(1 / z.max()), np.float32(1 / z.min()))
        visible = mask.view(bool) & (inverse >= self.inverse[window] * _DEPTH_TOLERANCE)
        paint = colour.astype(np.float32)
        if opacity < 1:
            paint = opacity * paint + (1 - opacity) * self.image[window]
        np.copyto(self.image[window], paint, where=visible[..., None])
        if class_id is None:
            return
        self.label[window][visible] = class_id
        self.instance[window][visible] = self._instance
        np.copyto(self.inverse[window], inverse, where=visible)
