"""Copies of a step's panels on the host, made without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_uda.engine.panels import BarsPanel, Boxes, ImagePanel, LabelPanel, Panel
from mmseg_uda.engine.transfer import to_device

UNLABELLED = 255


class Snapshot:
    """A step's panels on their way to the host.

    Everything is reduced on the device first: to the images that are drawn, to the size at which
    they are drawn, and to bytes. On a GPU the copies go to pinned memory in the background;
    :meth:`wait`, called by whoever draws, returns once they have arrived.

    Args:
        panels: The step's panels.
        images: How many images of the batch are kept.
        side: Longest side in pixels of a kept picture; larger ones are reduced.
    """

    @torch.no_grad()
    def __init__(self, panels: Sequence[Panel], images: int, side: int) -> None:
        self._panels = [_keep(panel, images, side) for panel in panels]
        self._event: Any = None
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            self._event = torch.cuda.Event()
            self._event.record()

    def wait(self) -> list[Panel]:
        """The panels with tensors on the host.

        Images are uint8, labels uint8 with 255 for every id outside it, maps and bars float32,
        and box corners float32 in pixels of the reduced picture.
        """
        if self._event is not None:
            self._event.synchronize()
        return self._panels


def _keep(panel: Panel, images: int, side: int) -> Panel:
    if isinstance(panel, BarsPanel):
        kept = {
            name: _to_host((v if v.dim() == 1 else v[:images]).detach().float())
            for name, v in panel.series.items()
        }
        return replace(panel, series=kept)
    if isinstance(panel, ImagePanel):
        full = panel.image
        small = _reduce(full[:images].detach().float(), side, "area")
        shown: Any = replace(
            panel, image=_to_host((small.clamp(0, 1) * 255).round().to(torch.uint8))
        )
    elif isinstance(panel, LabelPanel):
        full = panel.label
        label = full[:images].detach()
        outside = (label < 0) | (label > UNLABELLED)
        small = torch.where(outside, UNLABELLED, label).to(torch.uint8)
        # A channel dimension, which interpolation asks for.
        shown = replace(panel, label=_to_host(_reduce(small[:, None], side, "nearest")[:, 0]))
    else:
        full = panel.values
        values = full[:images].detach().float()
        shown = replace(panel, values=_to_host(_reduce(values[:, None], side, "area")[:, 0]))
    if panel.boxes is None:
        return shown
    return replace(shown, boxes=_keep_boxes(panel.boxes, _factor(full, side)))


def _keep_boxes(boxes: Boxes, factor: float) -> Boxes:
    scale = to_device(torch.tensor([1.0, factor, factor, factor, factor]), boxes.corners.device)
    optional: dict[str, Any] = {
        name: None if (value := getattr(boxes, name)) is None else _to_host(value.detach())
        for name in ("classes", "scores", "accepted")
    }
    return replace(boxes, corners=_to_host(boxes.corners.detach().float() * scale), **optional)


def _factor(picture: Tensor, side: int) -> float:
    return min(1.0, side / max(picture.shape[-2:]))


def _reduce(picture: Tensor, side: int, mode: str) -> Tensor:
    factor = _factor(picture, side)
    if factor == 1.0:
        return picture
    size = tuple(max(1, math.floor(length * factor + 0.5)) for length in picture.shape[-2:])
    return F.interpolate(picture, size=size, mode=mode)


def _to_host(value: Tensor) -> Tensor:
    if value.is_cuda:
        return value.to("cpu", non_blocking=True)
    # A later step may write into a buffer that is shown.
    return value.clone()
