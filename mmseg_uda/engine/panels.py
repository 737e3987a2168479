"""Records of what a training step can show: images, labels, maps, boxes and bars.

A trainer and its components fill these with the tensors of the step, as they are; how they are
copied, drawn and written is the business of ``mmseg_uda.visualization``. A record holds one
entry per image of the batch (B); a debug picture has one section per image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmseg_uda.engine.records import SourceBatch
from mmseg_uda.models.views import SegmentorOutput


@dataclass(frozen=True)
class Boxes:
    """Boxes to draw over a panel's pictures.

    Attributes:
        corners: (n, 5) integers: image of the batch, x0, y0, x1, y1, half-open pixels of the
            panel's picture.
        classes: (n,) trainIds that give colour and name; None draws all alike.
        scores: (n,) numbers written beside the name.
        accepted: (n,) bool; boxes that were rejected are dashed.
        texts: n texts in place of the class names.
    """

    corners: Tensor
    classes: Tensor | None = None
    scores: Tensor | None = None
    accepted: Tensor | None = None
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class ImagePanel:
    """A picture.

    Attributes:
        title: A few words; every panel of a step has another.
        image: (B, 3, H, W) floating point RGB in [0, 1], values outside are clipped
            (``source.rgb()``, ``target.rgb()``, ``normalization.to_rgb(image)``).
        boxes: Drawn over it.
        captions: One short text per image below the picture.
    """

    title: str
    image: Tensor
    boxes: Boxes | None = None
    captions: Sequence[str] = ()


@dataclass(frozen=True)
class LabelPanel:
    """A label map in the taxonomy's colours.

    Attributes:
        title: A few words; every panel of a step has another.
        label: (B, H, W) integer trainIds; ids outside the taxonomy are drawn as unlabelled.
        boxes: Drawn over it.
        captions: One short text per image below the picture.
    """

    title: str
    label: Tensor
    boxes: Boxes | None = None
    captions: Sequence[str] = ()


@dataclass(frozen=True)
class MapPanel:
    """A map of numbers with a colour bar.

    Attributes:
        title: A few words; every panel of a step has another.
        values: (B, H, W) numbers or bools. Those that are not finite are drawn grey.
        limits: Values at the ends of the colour bar; None takes each image's extremes.
        boxes: Drawn over it.
        captions: One short text per image below the picture.
    """

    title: str
    values: Tensor
    limits: tuple[float, float] | None = (0.0, 1.0)
    boxes: Boxes | None = None
    captions: Sequence[str] = ()


@dataclass(frozen=True)
class BarsPanel:
    """Numbers by class, or by any other names, as horizontal bars.

    Attributes:
        title: A few words; every panel of a step has another.
        series: By name, (B, n) numbers per image, or (n,) for the batch, in which case every
            image shows the same. Several series stand beside each other (before, after).
            Numbers that are not finite have no bar.
        names: n names of the bars; None stands for the taxonomy's classes, in their colours.
        limits: Ends of the axis; None takes the extremes.
        captions: One short text per image below the bars.
    """

    title: str
    series: Mapping[str, Tensor]
    names: Sequence[str] | None = None
    limits: tuple[float, float] | None = None
    captions: Sequence[str] = ()


Panel = ImagePanel | LabelPanel | MapPanel | BarsPanel


def source_panels(source: SourceBatch) -> list[Panel]:
    """The labelled images and their labels."""
    return [
        ImagePanel("source image", source.rgb(), captions=file_names(source.metas)),
        LabelPanel("source label", source.label),
    ]


def prediction_panel(title: str, output: SegmentorOutput) -> LabelPanel:
    """The classes that a forward pass predicts, at the decoder's resolution."""
    return LabelPanel(title, output.logits[0].logits.detach().argmax(dim=1))


def detail_panels(output: SegmentorOutput, title: str = "weight of the detail") -> list[Panel]:
    """Where a segmentor with two scales (HRDA) trusts the detail crop; nothing for others.

    The attention is averaged over the predicted class distribution, and 0 outside the crop.
    """
    if output.detail is None:
        return []
    attention = output.detail.attention.float()
    probability = output.logits[0].logits.detach().float().softmax(dim=1)
    return [MapPanel(title, (attention * probability).sum(dim=1))]


def detail_boxes(output: SegmentorOutput, batch: int) -> Boxes | None:
    """The detail crop of a forward pass, the same box on each of ``batch`` images."""
    box = None if output.detail is None else output.detail.box
    if box is None:
        return None
    corners = [(i, box.x0, box.y0, box.x1, box.y1) for i in range(batch)]
    return Boxes(torch.tensor(corners), texts=["detail crop"] * batch)


def file_names(metas: Sequence[Mapping[str, Any]]) -> list[str]:
    """The file name of every image of a batch."""
    return [Path(str(meta.get("img_path", ""))).name for meta in metas]
