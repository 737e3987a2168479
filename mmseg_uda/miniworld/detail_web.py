"""Captioned regions of the web-like domain with finer classes.

A region appears twice: alone on black, and with what is around it. That is how taxonomy alignment
looks at regions; the miniature CLIP that it uses is trained on these crops.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mmseg_uda.miniworld.canvas import Ids
from mmseg_uda.miniworld.catalogue import get_domain
from mmseg_uda.miniworld.detail_classes import Detail, idd_table, vistas_table
from mmseg_uda.miniworld.domains import Frame, render, stream
from mmseg_uda.miniworld.unseen import WEB_DETAILS
from mmseg_uda.miniworld.web import CROP_SIZE, Crop, write_crops
from mmseg_uda.miniworld.world import modules_of
from mmseg_uda.taxonomy import load_taxonomy_map

TEMPLATE = "a photo of {}"
# Ids of IDD that stand for more than what this class shows; their names would be wrong for it.
_NOT_IN_IDD = set(Detail) - {
    Detail.CURB,
    Detail.GUARD_RAIL,
    Detail.BARRICADE,
    Detail.BILLBOARD,
    Detail.BRIDGE,
    Detail.MOTORCYCLIST,
    Detail.AUTORICKSHAW,
    Detail.PARKING,
}
_PER_FRAME = 2
_MIN_AREA, _MIN_SIDE = 30, 3
# Most context on a side, in pixels; small margins are as frequent as large ones.
_CONTEXT = 20


@cache
def texts_of(id_: int) -> tuple[str, ...]:
    """Names of a class of the canvas: the contexts of its prompt-names in both label sets."""
    found: list[str] = []
    for map_, table in (("mapillary_v5", vistas_table()), ("idd_v5", idd_table())):
        if map_ == "idd_v5" and id_ in _NOT_IN_IDD:
            continue
        names = load_taxonomy_map(map_)
        for name_id, contexts in zip(names.name_ids, names.contexts, strict=True):
            if name_id == table[id_]:
                found += contexts
    return tuple(dict.fromkeys(found))


@cache
def class_ids() -> dict[str, int]:
    """Ids of the canvas by the name of their class in captions' files."""
    return {c.name.lower(): int(c) for c in (*Ids, *Detail)}


def frame_regions(
    frame: Frame, rng: np.random.Generator
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """At most two (class, (H, W) region) per class of one frame, whole or cut."""
    for id_ in np.unique(frame.detail).tolist():
        if not texts_of(id_):
            continue
        area = (frame.detail == id_).astype(np.uint8)
        _, parts, stats, _ = cv2.connectedComponentsWithStats(area, connectivity=8)
        sides = stats[1:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].min(1)
        large = np.flatnonzero((stats[1:, cv2.CC_STAT_AREA] >= _MIN_AREA) & (sides >= _MIN_SIDE))
        for k in rng.permutation(large)[:_PER_FRAME]:
            region = parts == k + 1
            cut = _cut(region, rng) if rng.random() < 0.3 else region
            yield id_, cut if cut.sum() >= _MIN_AREA else region


def _cut(region: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A part of a region as a superpixel would have it: what lies around one of its pixels."""
    rows, columns = np.nonzero(region)
    k = rng.integers(len(rows))
    half_x, half_y = rng.uniform(5, 24, 2)
    y, x = np.ogrid[: region.shape[0], : region.shape[1]]
    near = ((x - columns[k]) / half_x) ** 2 + ((y - rows[k]) / half_y) ** 2 <= 1
    return region & near


def region_crops(
    frame: Frame, region: NDArray[np.bool_], rng: np.random.Generator
) -> Iterator[NDArray[np.uint8]]:
    """(64, 64, 3) uint8 RGB: the region alone on black, then with its surroundings."""
    rows, columns = np.nonzero(region)
    x0, y0, x1, y1 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    size = (CROP_SIZE, CROP_SIZE)
    alone = cv2.resize(frame.image[y0:y1, x0:x1], size, interpolation=cv2.INTER_LINEAR)
    mask = cv2.resize(region[y0:y1, x0:x1].astype(np.float32), size)
    yield np.rint(alone * mask[..., None]).astype(np.uint8)
    small = rng.random(4) < 0.5
    left, top, right, bottom = np.where(
        small, rng.integers(0, 4, 4), rng.integers(4, _CONTEXT, 4)
    ).tolist()
    height, width = frame.detail.shape
    window = frame.image[
        max(y0 - top, 0) : min(y1 + bottom, height), max(x0 - left, 0) : min(x1 + right, width)
    ]
    yield cv2.resize(window, size, interpolation=cv2.INTER_LINEAR)


def _crops(index: int, seed: int) -> Iterator[Crop]:
    rng = stream(seed, WEB_DETAILS, "crops", index)
    frame = render(get_domain(WEB_DETAILS), "train", index, seed)
    names = {id_: name for name, id_ in class_ids().items()}
    for id_, region in frame_regions(frame, rng):
        texts = texts_of(id_)
        for crop in region_crops(frame, region, rng):
            text = texts[int(rng.integers(len(texts)))]
            yield crop, names[id_], text, TEMPLATE.format(text)


def render_detail_web(root: Path, seed: int, frames: int, workers: int | None = None) -> bool:
    """Writes ``root/web_details`` as ``render_web`` writes the web-like domain."""
    modules = (*modules_of(get_domain(WEB_DETAILS)), "web.py", "detail_web.py")
    # A scene gives some 70 crops, three times as many as one of the web-like domain.
    return write_crops(root, WEB_DETAILS, seed, max(frames // 4, 1), _crops, modules, workers)
