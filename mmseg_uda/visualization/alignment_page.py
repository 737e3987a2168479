"""A page on the regions of one image: their candidates, probabilities and decisions."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader

from mmseg_uda.foundation.masks import MaskSet
from mmseg_uda.visualization.alignment_picture import (
    AlignmentView,
    paint,
    present,
    region_colors,
    unstretched,
)
from mmseg_uda.visualization.canvas import UNLABELLED_COLOR, UNLABELLED_NAME

TEMPLATES = Path(__file__).parent / "templates"
PICTURE_SIDE = 1200  # pixels of the longer side
THUMBNAIL_SIDE = 104
SHOWN = 4  # candidates of a region before the rest is folded away
CONTEXT = 0.25  # of a thumbnail's region, shown around it
YELLOW_BGR = (59, 235, 255)


@dataclass(frozen=True)
class RegionDecision:
    """What was decided for one region.

    Attributes:
        source: Source class; -1 for none.
        target: Target id; -1 for none.
        accepted: A candidate's probability exceeded the threshold.
        changed: The target is not the source class's default.
        candidates: Names and probabilities, in any order.
    """

    source: int
    target: int
    accepted: bool
    changed: bool
    candidates: Sequence[tuple[str, float]]


def alignment_page(
    title: str,
    view: AlignmentView,
    masks: MaskSet,
    decisions: Sequence[RegionDecision],
    threshold: float,
    facts: str = "",
) -> str:
    """The page as HTML that needs no other file and no network.

    Regions are listed from the largest to the smallest; pointing at one shows it in the picture.

    Args:
        title: Usually the image's name.
        view: Image, source prediction and result.
        masks: M regions at the view's size.
        decisions: Of the M regions.
        threshold: Marked in the bars.
        facts: A line below the title.
    """
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    height, width = masks.size
    order = masks.order().tolist()
    regions = [_region(view, masks, m, rank, decisions[m]) for rank, m in enumerate(order, 1)]
    pictures = (
        ("Image", view.image),
        ("Source prediction", paint(view.source, view.source_classes)),
        ("Regions", region_colors(view.image, view.owner)),
        ("Aligned prediction", paint(view.aligned, view.target_classes)),
    )
    return environment.get_template("alignment.html").render(
        title=title,
        facts=facts,
        width=width,
        height=height,
        threshold=threshold,
        shown=SHOWN,
        pictures=[
            dict(title=name, data=_picture(unstretched(array, view.shape)))
            for name, array in pictures
        ],
        legend=present(view.aligned, view.target_classes),
        regions=regions,
    )


def _region(
    view: AlignmentView, masks: MaskSet, m: int, rank: int, decision: RegionDecision
) -> dict[str, Any]:
    known = 0 <= decision.target < len(view.target_classes.names)
    verdict, text = "kept", "default kept"
    if decision.source < 0:
        verdict, text = "void", "no source class"
    elif decision.accepted:
        verdict, text = "accepted", "accepted"
    ranked = sorted(decision.candidates, key=lambda entry: -entry[1])
    share = masks.area[m] / (masks.size[0] * masks.size[1])
    return dict(
        rank=rank,
        target=view.target_classes.names[decision.target] if known else UNLABELLED_NAME,
        color=view.target_classes.colors[decision.target] if known else UNLABELLED_COLOR,
        verdict=verdict,
        verdict_text=text,
        changed=decision.changed,
        source=view.source_classes.name(decision.source) if decision.source >= 0 else "nothing",
        area=f"{masks.area[m]} px, {100 * share:.2f} %",
        outline=_outline(masks, m),
        thumbnail=_thumbnail(view, masks, m),
        candidates=[
            dict(name=name, percent=f"{100 * p:.2f}", text=f"{100 * p:.1f} %") for name, p in ranked
        ],
    )


def _contours(masks: MaskSet, m: int) -> list[np.ndarray]:
    """Outlines (n, 1, 2) of a region in the image's pixels, slightly simplified."""
    if masks.area[m] == 0:
        return []
    patch = np.ascontiguousarray(masks.decode(m)).astype(np.uint8)
    x, y = (int(v) for v in masks.box[m, :2])
    found, _ = cv2.findContours(patch, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y))
    return [cv2.approxPolyDP(contour, 1.0, True) for contour in found]


def _outline(masks: MaskSet, m: int) -> str:
    """The data of an SVG path in the image's pixels."""
    parts = []
    for contour in _contours(masks, m):
        points = " ".join(f"{x} {y}" for x, y in contour[:, 0].tolist())
        parts.append(f"M{points}Z")
    return "".join(parts)


def _thumbnail(view: AlignmentView, masks: MaskSet, m: int) -> str:
    x1, y1, x2, y2 = (int(v) for v in masks.box[m])
    margin = 4 + round(CONTEXT * max(x2 - x1, y2 - y1))
    left, top = max(x1 - margin, 0), max(y1 - margin, 0)
    crop = view.image[top : y2 + 1 + margin, left : x2 + 1 + margin, ::-1]
    # columns of the file per column of a picture that may be stretched, rows alike
    height, width = masks.size
    across = 1.0 if view.shape is None else view.shape[1] / view.shape[0] * height / width
    sides = np.array([crop.shape[1] * across, crop.shape[0]])
    scale = THUMBNAIL_SIDE / sides.max() * np.array([across, 1.0])
    size = [max(1, round(side)) for side in THUMBNAIL_SIDE * sides / sides.max()]
    method = cv2.INTER_AREA if scale.max() < 1 else cv2.INTER_NEAREST
    small = cv2.resize(np.ascontiguousarray(crop), size, interpolation=method)
    lines = [
        np.rint((contour + 0.5 - [left, top]) * scale).astype(np.int32)
        for contour in _contours(masks, m)
    ]
    cv2.polylines(small, lines, True, YELLOW_BGR, 1, cv2.LINE_AA)
    return _encoded(small, ".jpg", "image/jpeg")


def _picture(array: np.ndarray) -> str:
    scale = min(1.0, PICTURE_SIDE / max(array.shape[:2]))
    bgr = np.ascontiguousarray(array[..., ::-1])
    if scale < 1:
        bgr = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return (
        _encoded(bgr, ".png", "image/png")
        if bgr.size < 2**19
        else _encoded(bgr, ".jpg", "image/jpeg")
    )


def _encoded(bgr: np.ndarray, suffix: str, kind: str) -> str:
    _, data = cv2.imencode(suffix, bgr)
    return f"data:{kind};base64,{base64.b64encode(data.tobytes()).decode()}"
