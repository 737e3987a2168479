"""Hierarchical alignment with the ImageNet network's features.

Three distances, each a mean square, between the student's maps of k copies of B images and the
reference's maps of the B images; every copy is compared with its original's reference. No gradient
reaches the reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_uda.errors import UserError
from mmseg_uda.methods.srha.regions import Regions, RegionsBySize
from mmseg_uda.models.precision import full_precision

LEVELS = ("global", "regional", "local")
LAYERS = (1, 2, 3, 4)
WEIGHTS = (0.4, 0.6, 0.8, 1.0)


def global_distance(student: Tensor, reference: Tensor) -> Tensor:
    """Mean square of the difference of the maps' means.

    Args:
        student: (k·B, C, h, w), any type; all first copies first.
        reference: (B, C, h, w), of the same type.

    Returns:
        0-dim float32 (of float64 maps float64), the mean over k·B·C.
    """
    dtype = torch.promote_types(student.dtype, torch.float32)
    mine, theirs = (x.mean(dim=(2, 3), dtype=dtype) for x in (student, reference))
    return F.mse_loss(*_paired(mine, theirs))


def local_distance(student: Tensor, reference: Tensor) -> Tensor:
    """Mean square of the difference at every position, labelled or not.

    Args:
        student: (k·B, C, h, w), any type; all first copies first.
        reference: (B, C, h, w), of the same type.

    Returns:
        0-dim float32 (of float64 maps float64), the mean over k·B·C·h·w.
    """
    return F.mse_loss(*_paired(full_precision(student), full_precision(reference)))


def regional_distance(student: Tensor, reference: Tensor, regions: Regions) -> Tensor:
    """Mean over regions and channels of the square difference of regions' means, times area share.

    Args:
        student: (k·B, C, h, w), any type; all first copies first.
        reference: (B, C, h, w), of the same type.
        regions: Of the B images, at the maps' resolution.

    Returns:
        0-dim float32 (of float64 maps float64): the sum over copies and present regions of
        share · ‖difference‖², divided by their number and by C; 0 without any region.
    """
    mine, theirs = _paired(regions.means(student), regions.means(reference))
    square = (mine - theirs).square().mean(dim=2)  # (k, B, R)
    present = regions.present.sum() * len(mine)
    return (square * regions.shares).sum() / present.clamp(min=1)


def _paired(student: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Both as (k, B, …), the reference without a copy and without a gradient."""
    copies = student.unflatten(0, (-1, len(reference)))
    return copies, reference.detach().expand_as(copies)


class HierarchicalAlignmentLoss(nn.Module):
    """The three distances on several stages of the encoder, each a weighted sum.

    Args:
        levels: Some of ``global``, ``regional``, ``local``.
        layers: Numbers of the stages, 1 to 4.
        weights: Factor per stage, in the order of ``layers``; or one such list per level. A
            factor of 0 or less leaves the stage out.

    Raises:
        UserError: An option is impossible.
    """

    def __init__(
        self,
        levels: Sequence[str] = LEVELS,
        layers: Sequence[int] = LAYERS,
        weights: Sequence[float] | Mapping[str, Sequence[float]] = WEIGHTS,
    ) -> None:
        super().__init__()
        _check(levels, layers, weights)
        by_level = weights if isinstance(weights, Mapping) else dict.fromkeys(levels, weights)
        #: Factor by level and stage; those that are left out are missing.
        self.weights: dict[str, dict[int, float]] = {
            level: {k: w for k, w in zip(layers, by_level[level], strict=True) if w > 0}
            for level in LEVELS
            if level in levels
        }

    @property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the stages that are compared at any level, ascending."""
        return tuple(sorted({layer for level in self.weights.values() for layer in level}))

    def distances(
        self,
        student: Mapping[int, Tensor],
        reference: Mapping[int, Tensor],
        regions: RegionsBySize,
    ) -> dict[str, dict[int, Tensor]]:
        """Every distance by level and stage, without its factor.

        Args:
            student: Maps (k·B, C_l, H_l, W_l) by stage.
            reference: Maps (B, C_l, H_l, W_l) by stage; no gradient flows into them.
            regions: Of the B images.
        """
        found: dict[str, dict[int, Tensor]] = {}
        for level, weights in self.weights.items():
            found[level] = {}
            for layer in weights:
                mine, theirs = student[layer], reference[layer]
                if level == "global":
                    found[level][layer] = global_distance(mine, theirs)
                elif level == "regional":
                    found[level][layer] = regional_distance(mine, theirs, regions.of(mine))
                else:
                    found[level][layer] = local_distance(mine, theirs)
        return found

    def total(self, distances: Mapping[str, Mapping[int, Tensor]]) -> dict[str, Tensor]:
        """The weighted sum of each level's distances; levels without a stage are missing."""
        return {
            level: torch.stack([self.weights[level][k] * d for k, d in parts.items()]).sum()
            for level, parts in distances.items()
            if parts
        }

    def forward(
        self,
        student: Mapping[int, Tensor],
        reference: Mapping[int, Tensor],
        regions: RegionsBySize,
    ) -> dict[str, Tensor]:
        """Loss by level; arguments as for :meth:`distances`."""
        return self.total(self.distances(student, reference, regions))


def _check(
    levels: Sequence[str],
    layers: Sequence[int],
    weights: Sequence[float] | Mapping[str, Sequence[float]],
) -> None:
    for level in levels:
        if level not in LEVELS:
            raise UserError(
                f"uda.alignment_levels holds {level!r}.", fix=f"Use some of {', '.join(LEVELS)}."
            )
    if not set(layers) <= set(LAYERS) or len(set(layers)) != len(layers):
        raise UserError(
            f"uda.alignment_layers={tuple(layers)} is not possible.", fix="Use some of 1, 2, 3, 4."
        )
    lists = {"": weights}
    if isinstance(weights, Mapping):
        lists = {f".{level}": weights.get(level, ()) for level in levels}
    for name, values in lists.items():
        if len(values) != len(layers):
            raise UserError(
                f"uda.alignment_weights{name} has {len(values)} numbers for {len(layers)} stages.",
                fix="Give one number per stage in uda.alignment_layers; 0 leaves a stage out.",
            )
