"""The domains of the miniature world and one rendered frame of each."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mmseg_uda.miniworld.canvas import VOID, Canvas, Ids
from mmseg_uda.miniworld.effects import WEATHERS, finish, paint_sky
from mmseg_uda.miniworld.gap import DEVELOPMENT_SEED, STRENGTH
from mmseg_uda.miniworld.layout import Layout, Plan, draw_scene
from mmseg_uda.miniworld.shapes import Brush
from mmseg_uda.miniworld.style import (
    Style,
    blend,
    cityscapes_style,
    gta_style,
    neutral_style,
    random_style,
    synthia_style,
)

GTA_LAYOUT = Layout(eye=(1.6, 1.95), focal=(125, 148), horizon=(0.38, 0.46), road=(3.0, 4.6))
# Nothing of the classes that SYNTHIA does not label, but look-alikes with the label it has: box
# vans, articulated buses, grass that is called vegetation. Without them the teacher takes trucks
# for buildings, which CSI leaves alone; with many of them the source outvotes relabelled targets.
SYNTHIA_LAYOUT = Layout(
    eye=(1.7, 2.3),
    focal=(120, 145),
    horizon=(0.34, 0.43),
    road=(3.2, 4.8),
    verge_chance=0.4,
    open_ground=0.3,
    truck=0.0,
    train=0.0,
    van=0.5,
    bus=0.75,
    articulated=0.6,
    cover=Ids.VEGETATION,
)
CITYSCAPES_LAYOUT = Layout(
    eye=(1.4, 1.65),
    focal=(140, 160),
    horizon=(0.35, 0.41),
    road=(2.3, 3.2),
    sidewalk=(1.2, 2.8),
    verge=(4.0, 10.0),
    verge_chance=1.0,
    paved=0.1,
    open_ground=0.85,
    backdrop=(0.4, 0.2, 0.18, 0.22),
    cars=(2, 4),
    persons=(1, 3),
    truck=0.75,
    train=0.6,
)
ACDC_LAYOUT = replace(CITYSCAPES_LAYOUT, eye=(1.45, 1.75), focal=(135, 155), road=(2.8, 4.2))
WEB_LAYOUT = Layout(
    eye=(1.2, 2.8), focal=(115, 180), horizon=(0.32, 0.48), road=(2.6, 5.0), cars=(1, 5)
)


# The look of one frame from the targets' share of their own look and the frame's random stream.
Look = Callable[[float, np.random.Generator], Style]


@dataclass(frozen=True)
class Details:
    """What a domain draws beyond the 19 classes.

    Attributes:
        furnish: Draws the finer classes into a scene, with ids of its own.
        coarse: (256,) uint8, from those ids to trainIds; 255 for what is none of the 19 classes.
        modules: Modules of this package that the frames depend on in addition.
    """

    furnish: Callable[[Plan], None]
    coarse: NDArray[np.uint8]
    modules: tuple[str, ...]


@dataclass(frozen=True)
class Domain:
    """A data set of the miniature world.

    Attributes:
        name: Directory name; also part of every random stream.
        layout: Statistics of its scenes.
        splits: Names of its parts.
        look: Style of a frame.
        weather: Whether frames have adverse conditions, in turn.
        ego: Whether the car's bonnet and the rectification's border are in the picture.
        details: Its finer classes, None for the 19 classes alone.
        sizes: Factors (width, height) on the world's image size, in turn.
    """

    name: str
    layout: Layout
    splits: tuple[str, ...]
    look: Look
    weather: bool = False
    ego: bool = False
    details: Details | None = None
    sizes: tuple[tuple[float, float], ...] = ((1, 1),)


def _real(strength: float, _: np.random.Generator) -> Style:
    return blend(neutral_style(), cityscapes_style(), strength)


DOMAINS = {
    d.name: d
    for d in (
        Domain("gta", GTA_LAYOUT, ("train",), lambda *_: gta_style()),
        Domain("synthia", SYNTHIA_LAYOUT, ("train",), lambda *_: synthia_style()),
        Domain("cityscapes", CITYSCAPES_LAYOUT, ("train", "val"), _real, ego=True),
        Domain("acdc", ACDC_LAYOUT, ("train", "val"), _real, weather=True, ego=True),
        Domain("web", WEB_LAYOUT, ("train",), lambda _, rng: random_style(rng)),
    )
}

# Raw ids of the Cityscapes label definition for what is not part of the scene.
EGO_VEHICLE, RECTIFICATION_BORDER, OUT_OF_ROI = 1, 2, 3


@dataclass(frozen=True)
class Frame:
    """One rendered frame.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        label: (H, W) uint8 trainIds, 255 where ``border`` is set and for what is none of them.
        detail: (H, W) uint8 ids of the domain's finer classes; trainIds where it has none.
        instance: (H, W) uint16, 0 for background.
        inverse: (H, W) float32 inverse depth in 1/m, 0 for the sky.
        border: (H, W) uint8: 0, or the raw id of bonnet, border or outside.
        weather: Condition of the frame, or None.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]
    detail: NDArray[np.uint8]
    instance: NDArray[np.uint16]
    inverse: NDArray[np.float32]
    border: NDArray[np.uint8]
    weather: str | None


def stream(seed: int, domain: str, split: str, index: int) -> np.random.Generator:
    """The random stream of one frame: a function of its four coordinates alone."""
    words = (seed, zlib.crc32(domain.encode()), zlib.crc32(split.encode()), index)
    return np.random.default_rng(np.random.SeedSequence(words))


def render(
    domain: Domain,
    split: str,
    index: int,
    seed: int = DEVELOPMENT_SEED,
    strength: float = STRENGTH,
    width: int = 256,
    height: int = 128,
) -> Frame:
    """Renders one frame of about ``width`` × ``height``; equal arguments give equal pixels."""
    rng = stream(seed, domain.name, split, index)
    style = domain.look(strength, rng)
    wide, high = domain.sizes[index % len(domain.sizes)]
    size = round(width * wide), round(height * high)
    canvas = Canvas(domain.layout.camera(rng, *size))
    weather = WEATHERS[index % len(WEATHERS)] if domain.weather else None
    paint_sky(canvas, style, rng)
    plan = draw_scene(Brush(canvas, style, rng), domain.layout)
    if domain.details is not None:
        domain.details.furnish(plan)
    border = _ego_border(canvas) if domain.ego else np.zeros_like(canvas.label)
    image = finish(canvas, style, rng, weather)
    image[border >= RECTIFICATION_BORDER] = 0
    label = canvas.label if domain.details is None else domain.details.coarse[canvas.label]
    label = np.where(border > 0, VOID, label).astype(np.uint8)
    return Frame(image, label, canvas.label, canvas.instance, canvas.inverse, border, weather)


def _ego_border(canvas: Canvas) -> NDArray[np.uint8]:
    """Paints the bonnet and returns the raw ids of what does not belong to the scene."""
    height, width = canvas.label.shape
    border = np.zeros((height, width), np.uint8)
    x = np.linspace(-1, 1, width)
    top = height * (0.875 + 0.09 * x**4)
    bonnet = np.arange(height)[:, None] >= top[None, :]
    border[bonnet] = EGO_VEHICLE
    canvas.image[bonnet] = (44, 48, 52)
    rows, columns = max(1, round(height / 64)), max(1, round(width / 128))
    border[:, :columns] = border[:, -columns:] = RECTIFICATION_BORDER
    border[:rows] = RECTIFICATION_BORDER
    border[-rows:] = OUT_OF_ROI
    return border
