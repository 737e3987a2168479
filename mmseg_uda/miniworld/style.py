"""Looks of the domains: palettes, textures, optics, light, blended by one strength."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from mmseg_uda.miniworld.canvas import Array, Ids

NUM_CLASSES = len(Ids)

# Four RGB colours per class of a neutral, sunny world.
_NEUTRAL: dict[Ids, tuple[tuple[int, int, int], ...]] = {
    Ids.ROAD: ((104, 104, 108), (92, 92, 97), (116, 114, 112), (98, 99, 106)),
    Ids.SIDEWALK: ((168, 158, 150), (154, 148, 146), (176, 162, 148), (160, 152, 140)),
    Ids.BUILDING: ((168, 128, 104), (178, 168, 152), (136, 96, 84), (120, 126, 138)),
    Ids.WALL: ((198, 162, 98), (182, 142, 86), (208, 178, 118), (172, 130, 92)),
    Ids.FENCE: ((236, 232, 224), (214, 216, 228), (204, 222, 234), (240, 236, 210)),
    Ids.POLE: ((112, 114, 116), (96, 98, 102), (130, 130, 130), (84, 88, 88)),
    Ids.LIGHT: ((34, 40, 36), (46, 48, 40), (28, 30, 30), (40, 52, 44)),
    Ids.SIGN: ((210, 40, 40), (40, 80, 200), (236, 200, 40), (240, 240, 240)),
    Ids.VEGETATION: ((52, 98, 42), (66, 112, 50), (40, 82, 40), (78, 118, 48)),
    Ids.TERRAIN: ((142, 164, 82), (128, 150, 74), (160, 162, 96), (150, 140, 92)),
    Ids.SKY: ((150, 192, 238), (168, 204, 240), (140, 180, 232), (186, 210, 236)),
    Ids.PERSON: ((150, 50, 80), (60, 60, 140), (110, 70, 130), (80, 56, 90)),
    Ids.RIDER: ((230, 120, 40), (214, 150, 50), (190, 100, 50), (220, 200, 70)),
    Ids.CAR: ((180, 30, 40), (40, 60, 130), (200, 204, 208), (48, 50, 56)),
    Ids.TRUCK: ((226, 224, 216), (60, 120, 170), (196, 150, 60), (150, 60, 50)),
    Ids.BUS: ((232, 176, 40), (200, 70, 40), (220, 200, 90), (60, 140, 90)),
    Ids.TRAIN: ((150, 160, 176), (110, 130, 170), (176, 60, 80), (70, 140, 150)),
    Ids.MOTORCYCLE: ((120, 24, 30), (90, 20, 24), (60, 30, 34), (150, 40, 40)),
    Ids.BICYCLE: ((40, 150, 160), (60, 170, 150), (50, 120, 170), (90, 180, 190)),
}


def neutral_palette() -> Array:
    """(classes, 4, 3) RGB colours of the neutral world."""
    return np.array([_NEUTRAL[c] for c in Ids], float)


def _per_class(default: float, **values: float) -> Array:
    table = np.full(NUM_CLASSES, default)
    for name, value in values.items():
        table[Ids[name.upper()]] = value
    return table


@dataclass(frozen=True)
class Style:
    """Everything that a domain's look consists of; all fields blend linearly.

    Attributes:
        palette: (classes, 4, 3) RGB colours.
        jitter: Standard deviation of an object's colour around its palette entry.
        fine, coarse: (classes,) amplitude of per-pixel and of blotchy texture.
        noise: Standard deviation of the sensor noise.
        blur: Standard deviation of the optical blur in pixels of a 128-row image.
        haze: Extinction in 1/m.
        haze_colour: (3,) RGB.
        light: (3,) RGB factor of the light.
        gradient: Change of brightness from the left to the right border, as a share.
        vignette: Darkening of the corners, as a share.
        gamma: Exponent of the tone curve.
        contrast: Factor around mid-grey.
    """

    palette: Array
    jitter: Array
    fine: Array
    coarse: Array
    noise: Array
    blur: Array
    haze: Array
    haze_colour: Array
    light: Array
    gradient: Array
    vignette: Array
    gamma: Array
    contrast: Array


def blend(first: Style, second: Style, share: float) -> Style:
    """``first`` with ``share`` of the way to ``second``; shares above 1 exaggerate."""
    mixed = {
        f.name: (1 - share) * getattr(first, f.name) + share * getattr(second, f.name)
        for f in fields(Style)
    }
    mixed["palette"] = np.clip(mixed["palette"], 0, 255)
    return Style(**{name: np.asarray(value) for name, value in mixed.items()})


def neutral_style() -> Style:
    """The style that every domain departs from."""
    number = np.float64
    return Style(
        palette=neutral_palette(),
        jitter=number(10),
        fine=_per_class(4, road=5, vegetation=14, terrain=8, building=5, sky=0.5),
        coarse=_per_class(4, vegetation=12, terrain=8, sky=4, building=6),
        noise=number(2),
        blur=number(0.3),
        haze=number(0.001),
        haze_colour=np.array([190.0, 205, 225]),
        light=np.ones(3),
        gradient=number(0.0),
        vignette=number(0.0),
        gamma=number(1.0),
        contrast=number(1.0),
    )


def recolour(
    palette: Array,
    saturation: float,
    tint: tuple[float, float, float],
    spread: float,
    seed: int,
) -> Array:
    """A palette of another world: saturation, tint, and a fixed random offset per class.

    Args:
        palette: (classes, 4, 3).
        saturation: 1 keeps, 0 makes grey.
        tint: RGB factors.
        spread: Standard deviation of the per-class offsets in grey levels.
        seed: Chooses the offsets.
    """
    rng = np.random.default_rng(seed)
    grey = palette.mean(-1, keepdims=True)
    offset = rng.normal(0, spread, (len(palette), 1, 3))
    return np.clip((grey + saturation * (palette - grey)) * tint + offset, 5, 250)


def gta_style() -> Style:
    """Rendered by a game: saturated, crisp, warm."""
    base = neutral_style()
    return replace(
        base,
        palette=recolour(base.palette, 1.2, (1.05, 1.0, 0.94), 6, seed=1),
        light=np.array([1.05, 1.0, 0.93]),
        contrast=np.float64(1.08),
    )


def synthia_style() -> Style:
    """Rendered by a simple engine: flat, little texture, bluish."""
    base = neutral_style()
    return replace(
        base,
        palette=recolour(base.palette, 1.1, (0.97, 1.0, 1.06), 9, seed=2),
        fine=base.fine * 0.85,
        coarse=base.coarse * 0.85,
        noise=np.float64(1.5),
        blur=np.float64(0.4),
        contrast=np.float64(0.95),
        gamma=np.float64(0.95),
    )


def cityscapes_style() -> Style:
    """A real camera at full strength: dull, greenish, hazy, noisy, uneven light."""
    base = neutral_style()
    return replace(
        base,
        palette=recolour(base.palette, 0.55, (0.8, 0.88, 0.84), 12, seed=12),
        jitter=np.float64(14),
        fine=base.fine * 1.2 + 2,
        coarse=base.coarse * 1.2 + 2,
        noise=np.float64(6),
        blur=np.float64(0.7),
        haze=np.float64(0.009),
        haze_colour=np.array([206.0, 212, 204]),
        light=np.array([0.9, 0.97, 0.92]),
        gradient=np.float64(0.45),
        vignette=np.float64(0.3),
        gamma=np.float64(1.05),
        contrast=np.float64(0.9),
    )


def random_style(rng: np.random.Generator, base: Style | None = None) -> Style:
    """A web picture: any camera, any light, colours far from any fixed palette.

    Args:
        rng: Draws everything.
        base: What the colours and textures are far from; default the neutral style.
    """
    base = base or neutral_style()
    palette = recolour(
        base.palette,
        saturation=rng.uniform(0.45, 1.25),
        tint=tuple(rng.uniform(0.82, 1.12, 3)),
        spread=rng.uniform(3, 13),
        seed=int(rng.integers(1 << 31)),
    )
    return Style(
        palette=palette,
        jitter=np.float64(rng.uniform(8, 24)),
        fine=base.fine * rng.uniform(0.4, 2.2) + rng.uniform(0, 5),
        coarse=base.coarse * rng.uniform(0.4, 2.2) + rng.uniform(0, 6),
        noise=np.float64(rng.uniform(0, 9)),
        blur=np.float64(rng.uniform(0.2, 0.9)),
        haze=np.float64(rng.choice([0.0, rng.uniform(0, 0.015)])),
        haze_colour=rng.uniform(170, 230, 3),
        light=rng.uniform(0.75, 1.15) * rng.uniform(0.88, 1.12, 3),
        gradient=np.float64(rng.uniform(0, 0.5)),
        vignette=np.float64(rng.uniform(0, 0.35)),
        gamma=np.float64(rng.uniform(0.8, 1.25)),
        contrast=np.float64(rng.uniform(0.75, 1.2)),
    )
