"""From the class prior that a config names to the quota of each class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mmseg_uda.datasets import TaxonomyDataset
from mmseg_uda.datasets.statistics import class_pixel_counts
from mmseg_uda.errors import UserError
from mmseg_uda.methods.ssda.options import KEY
from mmseg_uda.methods.ssda.seeds import class_quota, seed_share


def source_prior(data: Dataset) -> list[int]:
    """Pixels of each class in the source of a training data set, at native label resolution.

    Raises:
        UserError: If the source has no label files to count.
    """
    source = getattr(data, "source", None)
    if not isinstance(source, TaxonomyDataset):
        raise UserError(
            f"{KEY}.class_prior='source_stats' needs a labelled source with label files, not "
            f"{type(source).__name__}.",
            fix=f"Give {KEY}.class_prior one number per class.",
        )
    return class_pixel_counts(source).sum(0).tolist()


def quotas(
    prior: Sequence[float], classes: int, quota: str | float, beta: float, absent: str
) -> Tensor:
    """Quota of each class.

    Args:
        prior: Pixel frequencies, to be normalised.
        classes: Number of classes of the segmentor.
        quota: ``balanced``, ``constant`` (the balanced quotas' mean under the prior) or a number,
            which leaves classes without seeds to ``absent``.
        beta: β of the balanced quota.
        absent: What becomes of classes that the source lacks; see :func:`class_quota`.

    Returns:
        (C,) float64 in [0, 1].

    Raises:
        UserError: If the prior does not fit the classes or is no distribution.
    """
    if len(prior) != classes:
        raise UserError(
            f"{KEY}.class_prior has {len(prior)} classes, the segmentor predicts {classes}.",
            fix="Give one number per class, or 'source_stats'.",
        )
    try:
        balanced = class_quota(prior, beta, absent)
    except ValueError as error:
        raise UserError(
            f"{KEY}.class_prior cannot be used: {error}.",
            fix="Give one number per class, above 0 where the source shows the class.",
        ) from error
    if quota == "balanced":
        return balanced
    same = seed_share(prior, balanced) if isinstance(quota, str) else quota
    return torch.where(balanced > 0, same, balanced)
