"""From flat colours to a picture: texture, haze, weather, light, optics, sensor."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mmseg_uda.miniworld.canvas import Canvas, Ids
from mmseg_uda.miniworld.style import Style

WEATHERS = ("fog", "night", "rain", "snow")
# The sky is hazed like something at this distance, in metres.
_SKY_DISTANCE = 60.0

Image = NDArray[np.float32]


def paint_sky(canvas: Canvas, style: Style, rng: np.random.Generator) -> None:
    """Fills the canvas with a sky that pales towards the horizon."""
    colour = style.palette[Ids.SKY, rng.integers(4)] + rng.normal(0, style.jitter, 3)
    rows = np.linspace(0, 1, canvas.camera.height)[:, None, None]
    pale = np.clip(rows * 1.6, 0, 1) * 0.4
    canvas.image[:] = ((1 - pale) * colour + pale * 238).astype(np.float32)


def _blotches(rng: np.random.Generator, height: int, width: int, cells: int) -> Image:
    """Smooth noise (H, W) of unit variance with about ``cells`` blotches per image height."""
    rows, columns = cells, max(2, round(cells * width / height))
    small = rng.standard_normal((rows, columns), dtype=np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(1.4)


def finish(
    canvas: Canvas, style: Style, rng: np.random.Generator, weather: str | None = None
) -> NDArray[np.uint8]:
    """The picture (H, W, 3) uint8 RGB of a painted canvas."""
    height, width = canvas.label.shape
    image, label = canvas.image, canvas.label
    fine = rng.standard_normal((height, width), dtype=np.float32)
    coarse = 0.6 * _blotches(rng, height, width, 8) + 0.6 * _blotches(rng, height, width, 28)
    texture = style.fine.astype(np.float32)[label] * fine
    texture += style.coarse.astype(np.float32)[label] * coarse
    image = image + texture[..., None]

    haze, haze_colour = float(style.haze), style.haze_colour
    light, gamma = style.light, float(style.gamma)
    if weather == "fog":
        haze, haze_colour = haze + 0.03, np.array([196.0, 200, 204])
    elif weather == "snow":
        flat = np.isin(label, (Ids.ROAD, Ids.SIDEWALK, Ids.TERRAIN)) & (coarse > -0.3)
        image[flat] = 0.45 * image[flat] + 0.55 * 232
        haze += 0.008
    elif weather == "rain":
        haze, light = haze + 0.006, light * 0.85
    distance = np.minimum(1 / np.maximum(canvas.inverse, 1 / _SKY_DISTANCE), _SKY_DISTANCE)
    clear = np.exp(-haze * distance)[..., None].astype(np.float32)
    image = clear * image + (1 - clear) * haze_colour.astype(np.float32)

    image = (image - 128) * np.float32(style.contrast) + 128
    image = np.clip(image * light.astype(np.float32), 0, 255)
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    slope = float(style.gradient) * (1 if rng.random() < 0.5 else -1) / 2
    field = (1 + slope * x) * (1 - float(style.vignette) * (x * x + y * y) / 2)
    image *= field[..., None]
    if weather == "night":
        lamps = np.clip((image.max(-1, keepdims=True) - 215) / 40, 0, 1)
        beam = np.exp(-(x**2) * 3 - (y - 0.45) ** 2 * 6)[..., None]
        dark = image * (0.4 + 0.3 * beam) * np.array([0.85, 0.9, 1.15], np.float32)
        image = dark + lamps * image * 0.5
    if gamma != 1:
        image = 255 * (np.clip(image, 0, 255) / 255) ** np.float32(gamma)
    if weather in ("rain", "snow"):
        image = _precipitation(image, rng, snow=weather == "snow")
    sigma = float(style.blur) * height / 128
    if sigma > 0.05:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    noise = float(style.noise) * (1.5 if weather == "night" else 1.0)
    image = image + noise * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _precipitation(image: Image, rng: np.random.Generator, snow: bool) -> Image:
    """Flakes or streaks on top of the picture."""
    height, width = image.shape[:2]
    layer = np.zeros((height, width), np.uint8)
    for x, y in rng.uniform(0, 1, (90, 2)) * (width, height):
        end = (int(x), int(y)) if snow else (int(x + 1), int(y + height * 0.06))
        cv2.line(layer, (int(x), int(y)), end, 255, 1, cv2.LINE_AA)
    strength = np.float32(0.8 if snow else 0.25) * layer[..., None] / np.float32(255)
    return image * (1 - strength) + 235 * strength
