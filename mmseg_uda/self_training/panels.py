"""What the self-training step itself shows in a debug picture."""

from __future__ import annotations

from mmseg_uda.engine.panels import (
    ImagePanel,
    LabelPanel,
    MapPanel,
    Panel,
    detail_boxes,
    detail_panels,
    file_names,
    prediction_panel,
)
from mmseg_uda.engine.records import Normalization, TargetBatch
from mmseg_uda.models.views import SegmentorOutput
from mmseg_uda.self_training.records import MixedBatch, PseudoLabels


def target_panel(target: TargetBatch) -> Panel:
    """The target images."""
    return ImagePanel("target image", target.rgb(), captions=file_names(target.metas))


def pseudo_panels(pseudo: PseudoLabels) -> list[Panel]:
    """The teacher's labels, edits and margins included."""
    return [
        LabelPanel("pseudo-label", pseudo.label),
        MapPanel("teacher's confidence", pseudo.confidence),
        MapPanel("pseudo-label weight", pseudo.weight),
    ]


def mix_panels(
    mixed: MixedBatch, output: SegmentorOutput, normalization: Normalization
) -> list[Panel]:
    """The mixed images with what the student is taught and what it predicts."""
    image = normalization.to_rgb(mixed.image)
    return [
        ImagePanel("mixed image", image, boxes=detail_boxes(output, image.shape[0])),
        LabelPanel("mixed label", mixed.label),
        MapPanel("mixed weight", mixed.weight),
        prediction_panel("prediction, mixed", output),
        *detail_panels(output),
    ]
