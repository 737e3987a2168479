"""Brush strokes for the finer classes: street furniture, road surface, vehicles."""

from __future__ import annotations

import numpy as np

from mmseg_uda.miniworld.canvas import Array, Ids
from mmseg_uda.miniworld.detail_classes import Detail
from mmseg_uda.miniworld.shapes import (
    DARK,
    GLASS,
    LAMP_FRONT,
    LAMP_REAR,
    Box,
    Brush,
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
from mmseg_uda.miniworld.street import draw_pole

_WHITE = np.array([238.0, 238, 234])
_STEEL = np.array([150.0, 150, 154])


def _disc(x: float, z: float, radius: float) -> Array:
    angle = np.linspace(0, 2 * np.pi, 17)[:-1]
    points = np.zeros((16, 3))
    points[:, 0], points[:, 2] = x + radius * np.cos(angle), z + radius * np.sin(angle)
    return points


def draw_manhole(brush: Brush, x: float, z: float) -> None:
    """A round iron cover with a paler rim and bars."""
    colour, id_ = brush.colour(Detail.MANHOLE), Detail.MANHOLE
    brush.canvas.paint([_disc(x, z, 0.72)], id_, colour * 2.1)
    brush.canvas.paint([_disc(x, z, 0.58)], id_, colour)
    bars = [ground(x - 0.4, x + 0.4, z + d - 0.06, z + d + 0.06) for d in (-0.3, 0.0, 0.3)]
    brush.canvas.paint(bars, id_, colour * 1.7)


def draw_catch_basin(brush: Brush, x: float, z: float) -> None:
    """A square grate with slots along the driving direction."""
    colour, id_ = brush.colour(Detail.CATCH_BASIN), Detail.CATCH_BASIN
    brush.canvas.paint([ground(x - 0.5, x + 0.5, z - 0.6, z + 0.6)], id_, colour * 2.6)
    places = (-0.33, -0.11, 0.11, 0.33)
    slots = [ground(x + d - 0.07, x + d + 0.07, z - 0.5, z + 0.5) for d in places]
    brush.canvas.paint(slots, id_, colour * 0.6)


def draw_parking(brush: Brush, near: float, far: float, z0: float, z1: float) -> None:
    """A strip of bare earth beside the road that one may drive on."""
    strip = [ground(near, far, z0, z1)]
    brush.canvas.paint(strip, Detail.PARKING, brush.colour(Detail.PARKING))


def draw_guard_rail(brush: Brush, x: float, z0: float, z1: float) -> None:
    """A corrugated steel band on short posts along the road."""
    colour, id_ = brush.colour(Detail.GUARD_RAIL), Detail.GUARD_RAIL
    for z in np.arange(max(z0, 1.5), z1, 2.0)[::-1]:
        paint_upright(brush, x, float(z), [rectangle(-0.09, 0, 0.09, 0.85)], id_, colour * 0.55)
    band = Box(x, (z0 + z1) / 2, 0.0, z1 - z0, 0.12, 0.4, 0.95)
    for name in paint_box(brush, band, id_, colour):
        if name in ("left", "right"):
            groove = [(0, 0.4, 1, 0.58)]
            paint_on_face(brush, band, name, groove, id_, colour * 0.5)
            paint_on_face(brush, band, name, [(0, 0.85, 1, 1)], id_, colour * 1.25)


def draw_barricade(brush: Brush, x: float, z: float) -> None:
    """A board with slanting stripes between two orange cones."""
    colour, id_ = brush.colour(Detail.BARRICADE), Detail.BARRICADE
    brush.canvas.begin_object()
    for foot in (-0.75, 0.75):
        paint_upright(brush, x, z, [rectangle(foot - 0.08, 0, foot + 0.08, 1.2)], id_, DARK * 2)
    paint_upright(brush, x, z, [rectangle(-1.05, 0.55, 1.05, 1.2)], id_, _WHITE)
    stripes = [
        np.array([[u, 0.55], [u + 0.26, 0.55], [u + 0.5, 1.2], [u + 0.24, 1.2]])
        for u in (-1.02, -0.5, 0.02, 0.54)
    ]
    paint_upright(brush, x, z, stripes, id_, colour)
    for side in (-1.45, 1.45):
        cone = np.array([[-0.3, 0], [0.3, 0], [0.06, 0.95], [-0.06, 0.95]]) + (side, 0)
        paint_upright(brush, x, z, [cone], id_, colour)
        paint_upright(brush, x, z, [rectangle(side - 0.19, 0.38, side + 0.19, 0.6)], id_, _WHITE)
    brush.canvas.end_object()


def draw_billboard(brush: Brush, x: float, z: float) -> None:
    """A large advertising panel in a frame on two legs: a disc and lines of text."""
    width, low = brush.uniform(1.7, 2.6), brush.uniform(1.6, 2.6)
    high, id_ = low + brush.uniform(2.0, 2.8), Detail.BILLBOARD
    face = brush.colour(id_)
    accent = np.clip(255 - face + brush.rng.normal(0, 20, 3), 20, 255)
    for leg in (-0.6 * width, 0.6 * width):
        paint_upright(brush, x, z, [rectangle(leg - 0.12, 0, leg + 0.12, low)], Ids.POLE, _STEEL)
    brush.canvas.begin_object()
    frame = rectangle(-width - 0.12, low - 0.12, width + 0.12, high + 0.12)
    paint_upright(brush, x, z - 0.05, [frame], id_, DARK * 2)
    paint_upright(brush, x, z - 0.05, [rectangle(-width, low, width, high)], id_, face)
    middle = (low + high) / 2
    picture = ellipse(-0.45 * width, middle, 0.38 * (high - low))
    paint_upright(brush, x, z - 0.05, [picture], id_, accent)
    rows = [
        rectangle(0.08 * width, low + v * (high - low), u * width, low + (v + 0.14) * (high - low))
        for v, u in ((0.66, 0.9), (0.42, 0.75), (0.18, 0.85))
    ]
    paint_upright(brush, x, z - 0.05, rows, id_, _WHITE)
    brush.canvas.end_object()


def draw_banner(brush: Brush, x: float, z: float) -> None:
    """A tall cloth with two bands and an emblem, hanging beside a pole."""
    draw_pole(brush, x, z, 5.4)
    cloth, id_ = brush.colour(Detail.BANNER), Detail.BANNER
    side = 1 if brush.chance(0.5) else -1
    left, right = sorted((side * 0.2, side * 1.3))
    brush.canvas.begin_object()
    paint_upright(brush, x, z - 0.05, [rectangle(left, 2.0, right, 5.2)], id_, cloth)
    bands = [rectangle(left, 2.3, right, 2.6), rectangle(left, 4.6, right, 4.9)]
    paint_upright(brush, x, z - 0.05, bands, id_, _WHITE)
    emblem = ellipse((left + right) / 2, 3.6, 0.36, 0.55)
    paint_upright(brush, x, z - 0.05, [emblem], id_, np.clip(255 - cloth, 40, 255))
    brush.canvas.end_object()


def draw_bridge(brush: Brush, z: float, half: float, left: float, right: float) -> None:
    """A footbridge across the street: deck, railing, two piers.

    Args:
        brush: The scene's brush.
        z: Distance in metres.
        half: Half its width along the street.
        left, right: X of the piers' inner faces.
    """
    colour, id_ = brush.colour(Detail.BRIDGE), Detail.BRIDGE
    low = brush.uniform(4.6, 5.4)
    deck = Box(0.0, z, 0.0, 2 * half, 90.0, low, low + 1.3)
    brush.canvas.begin_object()
    for x, shift in ((left, -1.1), (right, 1.1)):
        pier = Box(x + shift, z, 0.0, 2 * half, 2.0, 0.0, low)
        paint_box(brush, pier, id_, colour * 0.85)
    for name in paint_box(brush, deck, id_, colour):
        if name == "rear":
            paint_on_face(brush, deck, name, [(0, 0, 1, 0.25)], id_, colour * 0.6)
    rail = [rectangle(-45, low + 2.2, 45, low + 2.4), rectangle(-45, low + 1.3, 45, low + 1.45)]
    posts = [rectangle(u, low + 1.3, u + 0.16, low + 2.3) for u in np.arange(-45, 45, 0.9)]
    paint_upright(brush, 0.0, z - half - 0.05, rail + posts, id_, colour * 0.7)
    brush.canvas.end_object()


def draw_utility_pole(brush: Brush, x: float, z: float) -> None:
    """A wooden mast with two cross-arms and insulators."""
    colour, id_ = brush.colour(Detail.UTILITY_POLE), Detail.UTILITY_POLE
    height = brush.uniform(6.4, 8.5)
    brush.canvas.begin_object()
    paint_upright(brush, x, z, [rectangle(-0.25, 0, 0.25, height)], id_, colour)
    paint_upright(brush, x, z, [rectangle(0.05, 0, 0.25, height)], id_, colour * 0.7)
    for k, y in enumerate((height - 0.5, height - 1.6)):
        arm = 1.3 - 0.2 * k
        paint_upright(brush, x, z, [rectangle(-arm, y - 0.16, arm, y + 0.16)], id_, colour * 0.85)
        caps = [rectangle(u - 0.1, y + 0.16, u + 0.1, y + 0.45) for u in (-arm + 0.1, arm - 0.1)]
        paint_upright(brush, x, z, caps, id_, _WHITE * 0.9)
    brush.canvas.end_object()


def draw_street_light(brush: Brush, x: float, z: float, side: int) -> None:
    """A pole with a wide lamp head over the road; its head alone is the street light.

    Args:
        brush: The scene's brush.
        x, z: Foot of the pole.
        side: 1 or −1, where the head points.
    """
    height = brush.uniform(4.6, 5.8)
    draw_pole(brush, x, z, height)
    head, id_ = brush.colour(Detail.STREET_LIGHT), Detail.STREET_LIGHT
    brush.canvas.begin_object()
    shade = np.array([[-0.1, 0.05], [1.5, 0.0], [1.25, 0.45], [0.1, 0.55]])
    glass = np.array([[0.2, -0.2], [1.35, -0.25], [1.5, 0.05], [0.1, 0.1]])
    shade, glass = (part * (side, 1) + (0, height) for part in (shade, glass))
    paint_upright(brush, x, z - 0.05, [shade], id_, DARK * 2.4)
    paint_upright(brush, x, z - 0.05, [glass], id_, np.clip(head * 1.1, 0, 255))
    brush.canvas.end_object()


def draw_sign_back(brush: Brush, x: float, z: float) -> None:
    """A grey plate seen from behind, with the brackets that hold it."""
    height = brush.uniform(2.3, 3.4)
    draw_pole(brush, x, z, height)
    face, id_ = brush.colour(Detail.SIGN_BACK), Detail.SIGN_BACK
    outline = (
        ellipse(0, height, 0.66)
        if brush.chance(0.5)
        else rectangle(-0.64, height - 0.62, 0.64, height + 0.62)
    )
    brush.canvas.begin_object()
    paint_upright(brush, x, z - 0.05, [outline], id_, face)
    rails = [rectangle(-0.5, height + d - 0.07, 0.5, height + d + 0.07) for d in (-0.28, 0.28)]
    paint_upright(brush, x, z - 0.05, rails, id_, face * 0.6)
    paint_upright(
        brush, x, z - 0.05, [rectangle(-0.1, height - 0.5, 0.1, height + 0.5)], id_, face * 0.45
    )
    brush.canvas.end_object()


def draw_trash_can(brush: Brush, x: float, z: float) -> None:
    """A round bin with ribs and a lid with a dark slot."""
    colour, id_ = brush.colour(Detail.TRASH_CAN), Detail.TRASH_CAN
    brush.canvas.begin_object()
    brush.canvas.paint([ground(x - 0.5, x + 0.5, z - 0.3, z + 0.3)], None, DARK, 0.4)
    body = np.array([[-0.42, 0], [0.42, 0], [0.52, 1.05], [-0.52, 1.05]])
    paint_upright(brush, x, z, [body], id_, colour)
    ribs = [rectangle(u - 0.05, 0.05, u + 0.05, 0.98) for u in (-0.24, 0.0, 0.24)]
    paint_upright(brush, x, z, ribs, id_, colour * 0.6)
    lid = np.array([[-0.58, 1.05], [0.58, 1.05], [0.4, 1.4], [-0.4, 1.4]])
    paint_upright(brush, x, z, [lid], id_, np.clip(colour * 1.5, 0, 255))
    paint_upright(brush, x, z, [rectangle(-0.25, 1.12, 0.25, 1.26)], id_, DARK)
    brush.canvas.end_object()


def draw_bench(brush: Brush, x: float, z: float) -> None:
    """A slatted seat and back on dark legs."""
    colour, id_ = brush.colour(Detail.BENCH), Detail.BENCH
    brush.canvas.begin_object()
    brush.canvas.paint([ground(x - 1.2, x + 1.2, z - 0.4, z + 0.4)], None, DARK, 0.4)
    for u in (-0.95, 0.95):
        paint_upright(brush, x, z, [bar(u, 0, u, 1.3, 0.18)], id_, DARK * 1.5)
    slats = [rectangle(-1.15, y, 1.15, y + 0.2) for y in (0.42, 0.72, 1.02)]
    paint_upright(brush, x, z, slats, id_, colour)
    seat = np.array([[-1.15, 0.42], [1.15, 0.42], [1.3, 0.26], [-1.3, 0.26]])
    paint_upright(brush, x, z - 0.3, [seat], id_, colour * 1.2)
    brush.canvas.end_object()


def draw_phone_booth(brush: Brush, x: float, z: float) -> None:
    """A glazed cabin with a bright roof and window bars."""
    colour, id_ = brush.colour(Detail.PHONE_BOOTH), Detail.PHONE_BOOTH
    brush.canvas.begin_object()
    brush.canvas.paint([ground(x - 0.7, x + 0.7, z - 0.4, z + 0.4)], None, DARK, 0.4)
    paint_upright(brush, x, z, [rectangle(-0.62, 0, 0.62, 2.5)], id_, colour)
    panes = [rectangle(u, y, u + 0.4, y + 0.42) for u in (-0.46, 0.06) for y in (0.5, 1.02, 1.54)]
    paint_upright(brush, x, z, panes, id_, GLASS * 2.2)
    paint_upright(brush, x, z, [rectangle(-0.5, 2.12, 0.5, 2.36)], id_, _WHITE)
    paint_upright(brush, x, z, [rectangle(-0.72, 2.5, 0.72, 2.68)], id_, colour * 0.7)
    brush.canvas.end_object()


def draw_caravan(brush: Brush, x: float, z: float, yaw: float) -> None:
    """A pale box with sloping ends, one wide window, a stripe, and one axle."""
    colour, id_ = brush.colour(Detail.CARAVAN), Detail.CARAVAN
    stripe = brush.colour(Ids.CAR)
    body = Box(x, z, yaw, brush.uniform(4.6, 5.8), 2.3, 0.45, 2.75, taper=0.3)
    brush.canvas.begin_object()
    paint_shadow(brush, body)
    for name in paint_box(brush, body, id_, colour):
        if name == "top":
            continue
        paint_on_face(brush, body, name, [(0.02, 0.2, 0.98, 0.32)], id_, stripe)
        window = (0.2, 0.52, 0.8, 0.84) if name in ("front", "rear") else (0.12, 0.5, 0.5, 0.8)
        paint_on_face(brush, body, name, [window], id_, GLASS)
        if name in ("left", "right"):
            paint_on_face(brush, body, name, [(0.62, 0.04, 0.78, 0.84)], id_, colour * 0.7)
    for lamp in ("rear",):
        if body.visible(lamp, brush.canvas.camera.eye):
            paint_on_face(
                brush, body, lamp, [(0.04, 0.08, 0.16, 0.18), (0.84, 0.08, 0.96, 0.18)], id_,
                LAMP_REAR,
            )  # fmt: skip
    paint_wheels(brush, body, id_, 0.38, (0.45,))
    brush.canvas.end_object()


def draw_trailer(brush: Brush, x: float, z: float, yaw: float) -> None:
    """A low open box of planks with a heap of load, a drawbar and one axle."""
    colour, id_ = brush.colour(Detail.TRAILER), Detail.TRAILER
    body = Box(x, z, yaw, brush.uniform(3.0, 4.0), 2.0, 0.55, 1.35)
    load = Box(x, z, yaw, body.length * 0.8, 1.7, 1.35, 1.8, taper=0.5)
    brush.canvas.begin_object()
    paint_shadow(brush, body)
    for name in paint_box(brush, body, id_, colour):
        if name != "top":
            planks = [(0, v, 1, v + 0.1) for v in (0.18, 0.5, 0.82)]
            paint_on_face(brush, body, name, planks, id_, colour * 0.5)
    paint_box(brush, load, id_, np.array([150.0, 116, 70]))
    if body.visible("rear", brush.canvas.camera.eye):
        lamps = [(0.02, -0.25, 0.2, 0.05), (0.8, -0.25, 0.98, 0.05)]
        paint_on_face(brush, body, "rear", lamps, id_, LAMP_REAR)
        paint_on_face(
            brush, body, "rear", [(0.06, -0.68, 0.2, -0.25), (0.8, -0.68, 0.94, -0.25)], id_, DARK
        )
    paint_wheels(brush, body, id_, 0.36, (0.5,))
    brush.canvas.end_object()


def draw_autorickshaw(brush: Brush, x: float, z: float, yaw: float) -> None:
    """A small open three-wheeler: coloured tub, black canopy, one lamp in the middle."""
    colour, id_ = brush.colour(Detail.AUTORICKSHAW), Detail.AUTORICKSHAW
    length = brush.uniform(2.6, 3.0)
    tub = Box(x, z, yaw, length, 1.5, 0.3, 1.0)
    cabin = Box(x, z, yaw, length * 0.86, 1.36, 1.0, 1.6, taper=0.12)
    canopy = Box(x, z, yaw, length * 0.95, 1.55, 1.6, 2.05, taper=0.2)
    brush.canvas.begin_object()
    paint_shadow(brush, tub)
    for name in paint_box(brush, tub, id_, colour):
        if name == "front":
            paint_on_face(brush, tub, name, [(0.38, 0.45, 0.62, 0.8)], id_, LAMP_FRONT)
            paint_on_face(brush, tub, name, [(0.4, -0.4, 0.6, 0.1)], id_, DARK)
        elif name == "rear":
            paint_on_face(
                brush, tub, name, [(0.05, 0.3, 0.2, 0.55), (0.8, 0.3, 0.95, 0.55)], id_, LAMP_REAR
            )
            paint_on_face(
                brush, tub, name, [(0.06, -0.42, 0.22, 0), (0.78, -0.42, 0.94, 0)], id_, DARK
            )
    seats = np.array([70.0, 44, 40])
    for name in paint_box(brush, cabin, id_, seats):
        if name == "front":
            paint_on_face(brush, cabin, name, [(0.08, 0.05, 0.92, 0.95)], id_, GLASS * 1.5)
        elif name in ("left", "right"):
            posts = [(0, 0, 0.08, 1), (0.46, 0, 0.56, 1), (0.92, 0, 1, 1)]
            paint_on_face(brush, cabin, name, posts, id_, colour)
    for name in paint_box(brush, canopy, id_, DARK * 1.4):
        if name != "top":
            paint_on_face(brush, canopy, name, [(0, 0, 1, 0.3)], id_, colour)
    paint_wheels(brush, tub, id_, 0.3, (0.16, 0.84))
    brush.canvas.end_object()
