"""Cars, vans, trucks, buses, trains and two-wheelers of the miniature world."""

from __future__ import annotations

import numpy as np

from mmseg_uda.miniworld.canvas import Array, Ids
from mmseg_uda.miniworld.shapes import (
    DARK,
    GLASS,
    LAMP_FRONT,
    LAMP_REAR,
    Box,
    Brush,
    Rectangle,
    bar,
    ellipse,
    ground,
    paint_box,
    paint_on_face,
    paint_shadow,
    paint_upright,
    paint_wheels,
    rectangle,
)


def _shifted(box: Box, along: float, **changes: float) -> Box:
    """Another box on the same vehicle, ``along`` metres ahead of the first one's centre."""
    frame = {
        "x": box.x + along * np.sin(box.yaw),
        "z": box.z + along * np.cos(box.yaw),
        "yaw": box.yaw,
        "length": box.length,
        "width": box.width,
        "bottom": box.bottom,
        "top": box.top,
    }
    return Box(**{**frame, **changes})


def _row(count: int, u0: float, u1: float, v0: float, v1: float, gap: float) -> list[Rectangle]:
    step = (u1 - u0) / count
    return [
        (u0 + i * step + gap * step / 2, v0, u0 + (i + 1) * step - gap * step / 2, v1)
        for i in range(count)
    ]


def _lamps(brush: Brush, box: Box, class_id: int, v0: float, v1: float, width: float) -> None:
    parts = [(0.04, v0, 0.04 + width, v1), (0.96 - width, v0, 0.96, v1)]
    for name, lamp in (("front", LAMP_FRONT), ("rear", LAMP_REAR)):
        if box.visible(name, brush.canvas.camera.eye):
            paint_on_face(brush, box, name, parts, class_id, lamp)


def draw_car(brush: Brush, x: float, z: float, yaw: float) -> None:
    """A low body with a tapered cabin."""
    colour = brush.colour(Ids.CAR)
    tall = brush.uniform(1.0, 1.25)
    body = Box(x, z, yaw, brush.uniform(3.8, 4.6), 1.8, 0.3, 0.9 * tall)
    cabin = _shifted(
        body, -0.15, length=body.length * 0.62, width=1.6, bottom=body.top, top=1.45 * tall
    )
    cabin = Box(**{**cabin.__dict__, "taper": 0.4})
    brush.canvas.begin_object()
    paint_shadow(brush, body)
    paint_box(brush, body, Ids.CAR, colour)
    eye = brush.canvas.camera.eye
    for name in paint_box(brush, cabin, Ids.CAR, colour):
        if name != "top":
            parts = _row(2, 0.06, 0.94, 0.12, 0.85, 0.1) if name in ("left", "right") else None
            parts = parts or [(0.08, 0.12, 0.92, 0.85)]
            paint_on_face(brush, cabin, name, parts, Ids.CAR, GLASS)
    for name in ("front", "rear"):
        if body.visible(name, eye):
            paint_on_face(brush, body, name, [(0.32, 0.1, 0.68, 0.38)], Ids.CAR, colour * 0.35)
            paint_on_face(
                brush, body, name, [(0.06, -0.3, 0.2, 0), (0.8, -0.3, 0.94, 0)], Ids.CAR, DARK
            )
    _lamps(brush, body, Ids.CAR, 0.5, 0.85, 0.2)
    paint_wheels(brush, body, Ids.CAR, 0.34, (0.2, 0.8))
    brush.canvas.end_object()


def draw_van(brush: Brush, x: float, z: float, yaw: float) -> None:
    """A box van: a cab and a windowless box of one colour; its class is car."""
    colour = brush.colour(Ids.CAR if brush.chance(0.3) else Ids.TRUCK)
    length = brush.uniform(4.2, 6.5)
    box = Box(x, z, yaw, length, 2.4, 0.8, brush.uniform(2.9, 3.7))
    cab = _shifted(box, length / 2 + 0.95, length=1.8, width=2.2, bottom=0.45, top=2.3)
    frame = _shifted(box, 0.6, length=length + 1.0, width=2.1, bottom=0.45, top=0.85)
    ribs = [(u - 0.012, 0.03, u + 0.012, 0.97) for u in np.linspace(0.06, 0.94, 9)]
    ribbed = brush.chance(0.6)
    brush.canvas.begin_object()
    paint_shadow(brush, frame)
    paint_box(brush, frame, Ids.CAR, DARK * 1.6)
    for name in paint_box(brush, cab, Ids.CAR, colour):
        if name == "front":
            paint_on_face(brush, cab, name, [(0.08, 0.5, 0.92, 0.88)], Ids.CAR, GLASS)
        elif name in ("left", "right"):
            paint_on_face(brush, cab, name, [(0.3, 0.52, 0.85, 0.86)], Ids.CAR, GLASS)
    for name in paint_box(brush, box, Ids.CAR, colour):
        if name == "rear":
            paint_on_face(brush, box, name, [(0.485, 0.05, 0.515, 0.95)], Ids.CAR, DARK * 2)
            paint_on_face(brush, box, name, [(0.04, 0.02, 0.96, 0.1)], Ids.CAR, DARK * 1.5)
        elif name in ("left", "right") and ribbed:
            paint_on_face(brush, box, name, ribs, Ids.CAR, colour * 0.65)
    _lamps(brush, frame, Ids.CAR, 0.3, 0.8, 0.14)
    paint_wheels(brush, box, Ids.CAR, 0.46, (0.14, 0.98))
    brush.canvas.end_object()


def draw_truck(brush: Brush, x: float, z: float, yaw: float) -> None:
    """A cab and a higher, windowless cargo box on dark wheels."""
    cargo_colour, cab_colour = brush.colour(Ids.TRUCK), brush.colour(Ids.TRUCK)
    length = brush.uniform(5.0, 7.5)
    cargo = Box(x, z, yaw, length, 2.5, 0.95, brush.uniform(3.3, 3.9))
    cab = _shifted(cargo, length / 2 + 1.15, length=1.9, width=2.35, bottom=0.5, top=2.6)
    frame = _shifted(cargo, 0.6, length=length + 1.2, width=2.2, bottom=0.5, top=0.98)
    brush.canvas.begin_object()
    paint_shadow(brush, frame)
    eye = brush.canvas.camera.eye
    paint_box(brush, frame, Ids.TRUCK, DARK * 1.6)
    for name in paint_box(brush, cab, Ids.TRUCK, cab_colour):
        if name == "front":
            paint_on_face(brush, cab, name, [(0.08, 0.5, 0.92, 0.88)], Ids.TRUCK, GLASS)
            paint_on_face(brush, cab, name, [(0.15, 0.12, 0.85, 0.34)], Ids.TRUCK, DARK * 2)
        elif name in ("left", "right"):
            paint_on_face(brush, cab, name, [(0.3, 0.52, 0.85, 0.86)], Ids.TRUCK, GLASS)
    logo = 255 - cargo_colour * 0.8
    ribs = [(u - 0.012, 0.03, u + 0.012, 0.97) for u in np.linspace(0.06, 0.94, 9)]
    for name in paint_box(brush, cargo, Ids.TRUCK, cargo_colour):
        if name == "rear":
            paint_on_face(brush, cargo, name, [(0.485, 0.02, 0.515, 0.98)], Ids.TRUCK, DARK * 2)
            paint_on_face(
                brush, cargo, name, [(0, 0, 0.04, 1), (0.96, 0, 1, 1)], Ids.TRUCK, DARK * 3
            )
            paint_on_face(brush, cargo, name, [(0.04, 0.02, 0.96, 0.12)], Ids.TRUCK, LAMP_REAR)
            white = _row(4, 0.04, 0.96, 0.02, 0.12, 0.5)
            paint_on_face(brush, cargo, name, white, Ids.TRUCK, LAMP_FRONT)
        elif name in ("left", "right"):
            paint_on_face(brush, cargo, name, ribs, Ids.TRUCK, cargo_colour * 0.6)
            paint_on_face(brush, cargo, name, [(0.3, 0.35, 0.7, 0.7)], Ids.TRUCK, logo)
    if frame.visible("rear", eye):
        paint_on_face(
            brush, frame, "rear", [(0, -0.9, 0.24, 0.2), (0.76, -0.9, 1, 0.2)], Ids.TRUCK, DARK
        )
    _lamps(brush, frame, Ids.TRUCK, 0.3, 0.8, 0.14)
    paint_wheels(brush, cargo, Ids.TRUCK, 0.52, (0.12, 0.3, 0.98))
    brush.canvas.end_object()


def draw_bus(brush: Brush, x: float, z: float, yaw: float) -> None:
    """One tall box with a continuous band of windows on every side."""
    colour = brush.colour(Ids.BUS)
    bus = Box(x, z, yaw, brush.uniform(8.5, 11.5), 2.6, 0.35, 3.2)
    brush.canvas.begin_object()
    paint_shadow(brush, bus)
    for name in paint_box(brush, bus, Ids.BUS, colour):
        if name == "top":
            continue
        if name in ("left", "right"):
            paint_on_face(brush, bus, name, [(0.02, 0.48, 0.98, 0.85)], Ids.BUS, GLASS)
            pillars = [(u - 0.006, 0.48, u + 0.006, 0.85) for u in np.linspace(0.15, 0.85, 6)]
            paint_on_face(brush, bus, name, pillars, Ids.BUS, colour * 0.7)
            paint_on_face(brush, bus, name, [(0.82, 0.04, 0.93, 0.85)], Ids.BUS, GLASS * 0.7)
        else:
            paint_on_face(brush, bus, name, [(0.06, 0.42, 0.94, 0.8)], Ids.BUS, GLASS)
            paint_on_face(brush, bus, name, [(0.22, 0.86, 0.78, 0.96)], Ids.BUS, LAMP_FRONT * 0.9)
            paint_on_face(
                brush, bus, name, [(0.08, -0.12, 0.25, 0), (0.75, -0.12, 0.92, 0)], 15, DARK
            )
    _lamps(brush, bus, Ids.BUS, 0.1, 0.24, 0.14)
    paint_wheels(brush, bus, Ids.BUS, 0.48, (0.2, 0.78))
    brush.canvas.end_object()


def draw_articulated_bus(brush: Brush, x: float, z: float, yaw: float) -> None:
    """Two coupled sections with separate windows and a stripe, in any colour; its class is bus."""
    colour = brush.colour(Ids.BUS if brush.chance(0.4) else Ids.TRAIN)
    stripe = np.clip(255 - colour, 0, 255)
    top, length, gap = brush.uniform(3.2, 3.8), brush.uniform(8.0, 10.0), 0.5
    brush.canvas.begin_object()
    for sign in (-1, 1):
        along = sign * (length + gap) / 2
        part = Box(x + along * np.sin(yaw), z + along * np.cos(yaw), yaw, length, 2.6, 0.35, top)
        paint_shadow(brush, part)
        for name in paint_box(brush, part, Ids.BUS, colour):
            if name == "top":
                continue
            paint_on_face(brush, part, name, [(0, 0.1, 1, 0.2)], Ids.BUS, stripe)
            if name in ("left", "right"):
                windows = _row(5, 0.03, 0.97, 0.48, 0.84, 0.2)
                paint_on_face(brush, part, name, windows, Ids.BUS, GLASS)
            else:
                paint_on_face(brush, part, name, [(0.06, 0.45, 0.94, 0.82)], Ids.BUS, GLASS)
        _lamps(brush, part, Ids.BUS, 0.22, 0.34, 0.14)
        paint_wheels(brush, part, Ids.BUS, 0.48, (0.2, 0.8))
    joint = Box(x, z, yaw, gap, 2.2, 0.5, top - 0.2)
    paint_box(brush, joint, Ids.BUS, DARK * 1.5)
    brush.canvas.end_object()


def draw_train(brush: Brush, x: float, z: float, yaw: float, cars: int = 3) -> None:
    """Several long coupled wagons on rails, small separate windows, two bright stripes."""
    colour, stripe = brush.colour(Ids.TRAIN), np.clip(255 - brush.colour(Ids.TRAIN), 0, 255)
    length, gap = brush.uniform(9.0, 12.0), 0.5
    brush.canvas.begin_object()
    for i in range(cars):
        along = (i - (cars - 1) / 2) * (length + gap)
        wagon = Box(x + along * np.sin(yaw), z + along * np.cos(yaw), yaw, length, 2.7, 0.5, 3.9)
        paint_shadow(brush, wagon)
        bogie = _shifted(wagon, 0, length=length * 0.9, width=2.2, bottom=0.02, top=0.5)
        paint_box(brush, bogie, Ids.TRAIN, DARK * 1.3)
        joint = _shifted(wagon, length / 2 + gap / 2, length=gap, width=2.0, bottom=0.6, top=3.4)
        if i < cars - 1:
            paint_box(brush, joint, Ids.TRAIN, DARK * 1.5)
        for name in paint_box(brush, wagon, Ids.TRAIN, colour):
            if name == "top":
                continue
            paint_on_face(brush, wagon, name, [(0, 0.08, 1, 0.2)], Ids.TRAIN, stripe)
            paint_on_face(brush, wagon, name, [(0, 0.86, 1, 0.94)], Ids.TRAIN, stripe)
            if name in ("left", "right"):
                windows = _row(7, 0.04, 0.96, 0.46, 0.76, 0.45)
                paint_on_face(brush, wagon, name, windows, Ids.TRAIN, GLASS * 0.8)
                doors = [(0.27, 0.02, 0.31, 0.8), (0.69, 0.02, 0.73, 0.8)]
                paint_on_face(brush, wagon, name, doors, Ids.TRAIN, DARK * 2.5)
            else:
                paint_on_face(
                    brush,
                    wagon,
                    name,
                    [(0.12, 0.45, 0.46, 0.78), (0.54, 0.45, 0.88, 0.78)],
                    16,
                    GLASS,
                )
                paint_on_face(
                    brush,
                    wagon,
                    name,
                    [(0.08, 0.24, 0.2, 0.34), (0.8, 0.24, 0.92, 0.34)],
                    16,
                    LAMP_FRONT,
                )
    brush.canvas.end_object()


def draw_rails(
    brush: Brush,
    x: float,
    z0: float,
    z1: float,
    along: bool,
    bed: Array,
    class_id: int | None = None,
) -> None:
    """Two rails and a ballast bed, of the ground class below them unless a class is given."""
    half, steel = 1.5, np.array([150.0, 148, 150])
    if along:
        brush.canvas.paint([ground(x - half, x + half, z0, z1)], class_id, bed, 0.6)
        rails = [ground(x + s - 0.09, x + s + 0.09, z0, z1) for s in (-0.75, 0.75)]
    else:
        brush.canvas.paint([ground(-60, 60, z0 - half, z0 + half)], class_id, bed, 0.6)
        rails = [ground(-60, 60, z0 + s - 0.09, z0 + s + 0.09) for s in (-0.75, 0.75)]
    brush.canvas.paint(rails, class_id, steel, 0.8)


def draw_two_wheeler(
    brush: Brush, x: float, z: float, motor: bool, rider: bool, facing: float
) -> None:
    """A bicycle or motorcycle seen from the side or at an angle, with or without a rider.

    Args:
        facing: 1 or −1 for the side, smaller magnitudes for a foreshortened view.
    """
    class_id = Ids.MOTORCYCLE if motor else Ids.BICYCLE
    colour = brush.colour(class_id)
    radius, span = (0.45, 0.9) if motor else (0.48, 0.75)
    squeeze, sign = abs(facing), np.sign(facing) or 1.0
    span, rx = span * squeeze * sign, max(radius * squeeze, 0.18)
    brush.canvas.begin_object()
    wheels = [ellipse(-span, radius, rx, radius), ellipse(span, radius, rx, radius)]
    paint_upright(brush, x, z, wheels, class_id, DARK * 1.2)
    if motor:
        hubs = [ellipse(-span, radius, rx * 0.4, 0.15), ellipse(span, radius, rx * 0.4, 0.15)]
        paint_upright(brush, x, z, hubs, class_id, np.array([150.0, 150, 154]))
        tank = np.array(
            [[-span * 1.1, 0.8], [-span * 0.5, 0.35], [span * 0.6, 0.35], [span * 0.9, 1.0],
             [span * 0.35, 1.15], [-span * 0.2, 0.9], [-span * 1.1, 1.0]]
        )  # fmt: skip
        paint_upright(brush, x, z, [tank], class_id, colour)
        paint_upright(brush, x, z, [bar(span * 0.55, 1.15, span, radius, 0.16)], class_id, DARK * 2)
    else:
        inner = [ellipse(-span, radius, rx * 0.55, 0.22), ellipse(span, radius, rx * 0.55, 0.22)]
        paint_upright(brush, x, z, inner, class_id, np.array([150.0, 150, 145]))
        seat, crank, neck = (-span * 0.35, 0.95), (0.0, radius), (span * 0.65, 0.95)
        lines = [(-span, radius, *crank), (*crank, *neck), (*seat, *neck), (*seat, *crank),
                 (-span, radius, *seat), (*neck, span, radius)]  # fmt: skip
        for line in lines:
            paint_upright(brush, x, z, [bar(*line, 0.17)], class_id, colour)
        top = rectangle(span * 0.65 - 0.2, 1.02, span * 0.65 + 0.2, 1.14)
        paint_upright(brush, x, z, [top], class_id, DARK * 2)
    if rider:
        _draw_rider(brush, x, z - 0.05, sign * squeeze, motor)
    brush.canvas.end_object()


def _draw_rider(brush: Brush, x: float, z: float, facing: float, motor: bool) -> None:
    colour, skin = brush.colour(Ids.RIDER), np.array([214.0, 168, 138])
    lean = 0.3 * facing
    torso = bar(-0.2 * facing, 0.95, lean, 1.65, 0.62)
    thigh, shin = bar(-0.15 * facing, 0.98, 0.22 * facing, 0.75, 0.24), None
    shin = bar(0.22 * facing, 0.78, 0.05 * facing, 0.35, 0.2)
    paint_upright(brush, x, z, [shin], Ids.RIDER, colour * 0.45)
    paint_upright(brush, x, z, [thigh], Ids.RIDER, colour * 0.5)
    paint_upright(brush, x, z, [torso], Ids.RIDER, colour)
    paint_upright(brush, x, z, [bar(lean, 1.4, 0.6 * facing, 1.1, 0.15)], Ids.RIDER, colour * 0.85)
    helmet = colour * 0.4 if motor else skin
    paint_upright(brush, x, z, [ellipse(lean * 1.2, 1.92, 0.24, 0.26)], Ids.RIDER, helmet)
