"""What a step of SRHA shows: styles that moved, distances from the ImageNet network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mmseg_uda.engine.panels import (
    BarsPanel,
    ImagePanel,
    LabelPanel,
    MapPanel,
    Panel,
    source_panels,
)
from mmseg_uda.engine.records import SourceBatch
from mmseg_uda.methods.srha.rearrangement import rearrange
from mmseg_uda.methods.srha.regions import RegionsBySize
from mmseg_uda.models.views import SegmentorOutput


@dataclass(frozen=True)
class StepRecord:
    """A finished step.

    Attributes:
        source: The batch of B images.
        regions: Their regions.
        weights: (B, R, R) mixing weights, None without copies.
        features: The student's maps by stage, (k·B, C, h, w).
        reference: The ImageNet network's maps by stage, (B, C, h, w).
        output: The student's predictions for k·B images.
        distances: Without factors, by level and stage.
    """

    source: SourceBatch
    regions: RegionsBySize
    weights: Tensor | None
    features: Mapping[int, Tensor]
    reference: Mapping[int, Tensor]
    output: SegmentorOutput
    distances: Mapping[str, Mapping[int, Tensor]]


@torch.no_grad()
def step_panels(record: StepRecord) -> list[Panel]:
    """Images, labels, re-styled regions, predictions and distances, in reading order."""
    source = record.source
    batch = len(source.image)
    classes = record.output.logits[0].logits.detach().argmax(dim=1)
    panels = source_panels(source)
    if record.weights is not None:
        regions = record.regions.of(source.image)
        donors = record.weights.argmax(dim=2)
        restyled = rearrange(source.rgb(), regions, record.weights)
        panels += [
            # Features have no colours to look at; the image under the same weights has.
            ImagePanel("image, styles moved alike", restyled),
            LabelPanel("main donor of the style", donors.gather(1, regions.ids.flatten(1))
                       .view_as(regions.ids)),
        ]  # fmt: skip
    panels.append(LabelPanel("prediction", classes[:batch]))
    if record.weights is not None:
        panels.append(LabelPanel("prediction, re-styled copy", classes[batch:]))
    for layer in sorted(record.reference)[-1:]:
        reference = record.reference[layer].float()
        for name, mine in zip(("", ", copy"), record.features[layer].split(batch), strict=False):
            distance = (mine.float() - reference).square().mean(dim=1).sqrt()
            panels.append(MapPanel(f"distance at stage {layer}{name}", distance, limits=None))
    if record.distances:
        layers = sorted({layer for parts in record.distances.values() for layer in parts})
        series = {
            level: torch.stack([parts.get(k, _missing(parts)) for k in layers])
            for level, parts in record.distances.items()
            if parts
        }
        names = [f"stage {layer}" for layer in layers]
        panels.append(BarsPanel("distance from the ImageNet network", series, names))
    return panels


def _missing(parts: Mapping[int, Tensor]) -> Tensor:
    return torch.full_like(next(iter(parts.values())), torch.nan)
