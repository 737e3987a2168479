"""What pseudo-labels are worth: scalars and panels, no part of any method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mmseg_uda.datasets.transforms.diagnosis import DIAGNOSIS_LABEL
from mmseg_uda.engine.options import Options
from mmseg_uda.engine.panels import BarsPanel, LabelPanel, MapPanel
from mmseg_uda.engine.records import TargetBatch
from mmseg_uda.self_training.component import Component, Host, StepContext
from mmseg_uda.self_training.records import PseudoLabels
from mmseg_uda.self_training.registry import COMPONENTS


@dataclass(frozen=True)
class QualityOptions(Options):
    """Options of the measurement."""

    KEY = "uda.diagnosis"

    histogram: bool = True
    """Log the share of every class."""
    decay: float = 0.99
    """Of the counts that are compared with labels: 0.99 averages over about 100 steps."""


@COMPONENTS.register_module()
class PseudoLabelQuality(Component):
    """Measures the host's pseudo-labels after every component's edits; changes nothing.

    Logged in every step, as tensors on the device:

    * ``pseudo.confident``: share of pixels at or above the confidence threshold;
    * ``pseudo.weight``: mean loss weight, before margins are removed;
    * ``pseudo.share.<class>``: share of pixels with that label (with ``histogram``);
    * where the target's labels happen to be loaded
      (``train_dataloader.dataset.target_labels_for_diagnosis=True``): ``pseudo.acc`` over labelled
      pixels, ``pseudo.acc_confident`` over those that are confident as well, and
      ``pseudo.mIoU`` over the classes seen. In per cent, from counts that fade by ``decay`` per
      step; NaN until there is a pixel to count.

    The labels come as the field ``diagnosis_label`` of the target batch, and only this class
    reads it. Off by default: ``uda.diagnosis.type=PseudoLabelQuality`` switches it on.
    """

    Options = QualityOptions
    order = 90

    right: Tensor
    counted: Tensor
    names: tuple[str, ...] = ()

    def bind(self, host: Host) -> None:
        """Takes the class names, and allocates the counts, which no checkpoint keeps."""
        known = host.taxonomy.classes if host.taxonomy else ()
        count = host.num_classes
        self.names = tuple(known) if len(known) == count else tuple(map(str, range(count)))
        # All labelled pixels, the confident ones among them, and intersection and union by class.
        self.register_buffer("right", torch.zeros(2 + count), persistent=False)
        self.register_buffer("counted", torch.zeros(2 + count), persistent=False)

    def before_training(self, host: Host, data: Dataset) -> None:
        """Without a taxonomy of the host's, the names are the data set's."""
        known = tuple((getattr(data, "metainfo", None) or {}).get("classes", ()))
        if host.taxonomy is None and len(known) == len(self.names):
            self.names = known

    def refine_weights(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> PseudoLabels:
        """Logs, and hands the labels on as they are."""
        shares = class_shares(pseudo.label, len(self.names))
        ctx.log("pseudo.confident", pseudo.confident.float().mean())
        ctx.log("pseudo.weight", pseudo.weight.mean())
        if self.options.histogram:
            for name, share in zip(self.names, shares.mean(dim=0), strict=True):
                ctx.log(f"pseudo.share.{name}", share)
        if ctx.draws:
            ctx.show(BarsPanel("pseudo-labels, share by class", {"share": shares}))
        if DIAGNOSIS_LABEL in target.fields:
            self._compare(ctx, target.fields[DIAGNOSIS_LABEL].squeeze(1).long(), pseudo)
        return pseudo

    def _compare(self, ctx: StepContext, label: Tensor, pseudo: PseudoLabels) -> None:
        labelled = label < len(self.names)
        right = labelled & (pseudo.label == label)
        intersection, union = overlap(pseudo.label, label, len(self.names))
        hits = torch.stack([right.sum(), (right & pseudo.confident).sum()])
        pixels = torch.stack([labelled.sum(), (labelled & pseudo.confident).sum()])
        self.right.mul_(self.options.decay).add_(torch.cat([hits, intersection]))
        self.counted.mul_(self.options.decay).add_(torch.cat([pixels, union]))
        share = 100 * self.right / self.counted
        ctx.log("pseudo.acc", share[0])
        ctx.log("pseudo.acc_confident", share[1])
        ctx.log("pseudo.mIoU", share[2:].nanmean())
        if ctx.draws:
            wrong = torch.where(labelled, (~right).float(), torch.nan)
            ctx.show(
                LabelPanel("target label (diagnosis only)", label),
                MapPanel("wrong pseudo-labels", wrong),
            )


def class_shares(label: Tensor, num_classes: int) -> Tensor:
    """(B, C) float32: share of the pixels of each image that have each class.

    Args:
        label: (B, H, W) int64 in [0, C).
        num_classes: C.
    """
    flat = label.flatten(1)
    counts = torch.zeros(len(label), num_classes, device=label.device)
    return counts.scatter_add(1, flat, torch.ones_like(flat, dtype=counts.dtype)) / flat.shape[1]


def overlap(prediction: Tensor, label: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Pixels in the intersection and in the union of each class, both (C,) float32.

    Args:
        prediction: (B, H, W) int64 in [0, C).
        label: (B, H, W) int64; pixels with C or more do not count.
        num_classes: C.
    """
    labelled = label < num_classes
    # What does not count goes to one more cell, which is cut off.
    given = torch.where(labelled, label, num_classes).flatten()
    predicted = torch.where(labelled, prediction, num_classes).flatten()
    both = torch.where(given == predicted, given, num_classes)

    def count(ids: Tensor) -> Tensor:
        cells = torch.zeros(num_classes + 1, device=ids.device)
        return cells.scatter_add(0, ids, torch.ones_like(ids, dtype=cells.dtype))[:num_classes]

    intersection = count(both)
    return intersection, count(given) + count(predicted) - intersection
