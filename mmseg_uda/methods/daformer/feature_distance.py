"""Thing-class ImageNet feature distance (DAFormer, Sec. 3.4)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmseg_uda.engine.options import Options
from mmseg_uda.engine.records import SourceBatch
from mmseg_uda.errors import UserError
from mmseg_uda.models.backbones import TimmViT
from mmseg_uda.models.views import SegmentorOutput, backbone_features, resize_nearest
from mmseg_uda.self_training.component import Component, Host, StepContext
from mmseg_uda.self_training.frozen import FrozenNetwork, guard_weights, remember_weights
from mmseg_uda.self_training.registry import COMPONENTS

THINGS = "things"
PUBLISHED_THINGS = (6, 7, 11, 12, 13, 14, 15, 16, 17, 18)  # of Cityscapes


def downscale_label(
    label: Tensor, factor: int, min_ratio: float, num_classes: int, ignore_index: int = 255
) -> Tensor:
    """Class of each cell of ``factor`` × ``factor`` pixels, where one class dominates.

    Args:
        label: (B, H, W) int64.
        factor: Edge of a cell in pixels; a rest at the lower or right border is dropped.
        min_ratio: Share of the cell that its most frequent class must reach. Unlabelled
            pixels count as a class of their own; of equally frequent classes the lowest wins.
        num_classes: Number of classes.
        ignore_index: Label of unlabelled pixels, and of cells without a dominating class.

    Returns:
        (B, H // factor, W // factor) int64.
    """
    batch, height, width = label.shape
    rows, columns = height // factor, width // factor
    ids = torch.where(label == ignore_index, num_classes, label)
    ids = ids[:, : rows * factor, : columns * factor]
    cells = ids.view(batch, rows, factor, columns, factor).transpose(2, 3)
    cells = cells.reshape(batch * rows * columns, factor * factor)
    # Counts per cell instead of a one-hot map of the whole image.
    counts = cells.new_zeros(cells.shape[0], num_classes + 1)
    counts.scatter_add_(1, cells, torch.ones_like(cells))
    # The lowest class wins a tie on every device.
    rank = torch.arange(num_classes, -1, -1, device=label.device)
    best = (counts * (num_classes + 1) + rank).argmax(dim=1)
    most = counts.gather(1, best.unsqueeze(1)).squeeze(1)
    keep = (most >= min_ratio * factor * factor) & (best < num_classes)
    return torch.where(keep, best, ignore_index).view(batch, rows, columns)


def masked_distance(features: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """Mean Euclidean distance over the selected cells.

    Args:
        features: (B, D, h, w).
        reference: (B, D, h, w).
        mask: (B, h, w) bool.

    Returns:
        0-dim float32. Exactly 0, with zero gradient, when no cell is selected (the original
        code gives NaN).
    """
    distance = torch.linalg.vector_norm(features.float() - reference.float(), dim=1)
    selected = mask.to(distance.dtype)
    return (distance * selected).sum() / selected.sum().clamp(min=1)


def fit_label(segmentor: Any, label: Tensor, size: Sequence[int]) -> tuple[Tensor, int]:
    """A label whose sides are a whole multiple of a map's, and the multiple.

    A plain transformer resizes the image to whole patches, and so the label (nearest), as VFM-UDA
    does; elsewhere the label is as it is.

    Args:
        segmentor: The network that made the map.
        label: (B, H, W).
        size: Height and width of the map.

    Raises:
        UserError: A cell of a resized image is no whole number of pixels.
    """
    backbone = getattr(segmentor, "backbone", None)
    if isinstance(backbone, TimmViT):
        rows, columns = backbone.grid_size(*label.shape[-2:])
        patch = backbone.patch_size
        label = resize_nearest(label, (rows * patch, columns * patch))
        if any(side % cells for side, cells in zip(label.shape[-2:], size, strict=True)):
            raise UserError(
                f"uda.feature_distance: the last map has {size[0]}x{size[1]} cells, which are no "
                f"whole pixels of the encoder's input, {label.shape[-2]}x{label.shape[-1]}.",
                fix="Use a decoder of one map, or a crop with an even number of patches.",
            )
    return label, label.shape[-1] // size[-1]


@dataclass(frozen=True)
class FeatureDistanceOptions(Options):
    """Options of the feature distance; defaults are those of the published DAFormer runs."""

    KEY = "uda.feature_distance"

    loss_weight: float = 0.005
    """Factor on the loss."""
    classes: Sequence[str | int] | str | None = PUBLISHED_THINGS
    """Classes by name or id whose cells count; None for all cells, ``'things'`` (also where it is
    left out) for those that the taxonomy marks with ``thing: true``: for Cityscapes, and without a
    taxonomy, the default."""
    min_ratio: float = 0.75
    """Share of a cell that its class must cover."""

    def check(self) -> None:
        """Raises a ``UserError`` for values that cannot work."""
        right = not isinstance(self.classes, str) or self.classes == THINGS
        self.require("classes", right, "'things', or a list of names or ids")


@COMPONENTS.register_module()
class FeatureDistance(Component):
    """Keeps the student's features of things close to those of the ImageNet network.

    The ImageNet network is the student's backbone as it was initialised. Its loss shares the
    backward pass with the source cross-entropy; the gradient is that of the original's two.
    """

    Options = FeatureDistanceOptions
    order = 0
    fingerprint: Tensor
    _selected: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"classes": THINGS, **options})
        guard_weights(self, "the feature distance")
        self.register_buffer("_selected", torch.zeros(0, dtype=torch.bool), persistent=False)
        self.reference: FrozenNetwork

    def bind(self, host: Host) -> None:
        """Resolves the classes and makes room for the ImageNet network."""
        selected = torch.ones(host.num_classes, dtype=torch.bool)
        if self.options.classes is not None:
            selected[:] = False
            selected[[_class_id(c, host) for c in _chosen(self.options.classes, host)]] = True
        self._selected = selected
        network = copy.deepcopy(host.model)
        for head in ("decode_head", "auxiliary_head"):  # only features are needed
            if hasattr(network, head):
                delattr(network, head)
        self.reference = FrozenNetwork(network)

    def after_weights(self, host: Host) -> None:
        """Copies the backbone as initialised."""
        weights = host.model.state_dict()
        self.reference.store(torch.float32)
        self.reference.network.load_state_dict(
            {name: weights[name] for name in self.reference.network.state_dict()}
        )
        remember_weights(self, self.reference)
        self.reference.store(host.execution.frozen_type)

    def source_losses(
        self, ctx: StepContext, source: SourceBatch, output: SegmentorOutput
    ) -> dict[str, Tensor]:
        """The distance, summed over the backbone passes that the segmentor offers."""
        host = ctx.host
        total: Tensor | float = 0.0
        for view in output.features:
            with torch.no_grad(), self.reference.precision(source.image.device):
                reference = backbone_features(
                    self.reference.network, source.image, view.scale, view.box
                )[-1]
            label = source.label if view.box is None else view.box.crop(source.label)
            label, factor = fit_label(self.reference.network, label, reference.shape[-2:])
            cells = downscale_label(
                label, factor, self.options.min_ratio, host.num_classes, host.ignore_index
            )
            mask = self.select(cells, host.ignore_index)
            total = total + masked_distance(view.features[-1], reference, mask)
        return {"loss_imnet_feat_dist": self.options.loss_weight * total}

    def select(self, cells: Tensor, ignore_index: int) -> Tensor:
        """(B, h, w) bool: cells that count, from (B, h, w) cell labels."""
        if self.options.classes is None:
            return torch.ones_like(cells, dtype=torch.bool)
        known = cells != ignore_index
        return known & self._selected[torch.where(known, cells, 0)]


def _chosen(classes: Sequence[str | int], host: Host) -> Sequence[str | int]:
    if classes != THINGS:
        return classes
    if host.taxonomy is None:
        return PUBLISHED_THINGS
    if not host.taxonomy.things:
        raise UserError(
            f"uda.feature_distance: the taxonomy '{host.taxonomy.name}' has no things.",
            fix="Write 'thing: true' to classes in its file, or name them in "
            "uda.feature_distance.classes (None takes all cells).",
        )
    return host.taxonomy.things


def _class_id(value: str | int, host: Host) -> int:
    if isinstance(value, int):
        if not 0 <= value < host.num_classes:
            raise UserError(
                f"uda.feature_distance.classes names class {value}, but there are "
                f"{host.num_classes}.",
                fix="Give classes='things' for those of the taxonomy, ids, or None for all cells.",
            )
        return value
    if host.taxonomy is None:
        raise UserError(
            "uda.feature_distance.classes has names, but the config has no taxonomy.",
            fix="Set uda.taxonomy, or give class ids.",
        )
    return host.taxonomy.class_id(value)
