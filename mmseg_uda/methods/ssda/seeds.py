"""Seeds: the surest pixels of each class, more of a class that the source shows rarely."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmseg_uda.models.precision import full_precision

ABSENT = ("none", "all")
SCOPES = ("batch", "image")
TIES = ("include", "exclude")

# Share of the pixels of each of Cityscapes' 19 classes in GTA, as published with PyCDA (Lian et
# al., ICCV 2019) and used by SSDA for every source.
GTA_PRIOR = (
    0.361438239,  # road
    0.093296372,  # sidewalk
    0.190348501,  # building
    0.020774588,  # wall
    0.007127923,  # fence
    0.011930667,  # pole
    0.001510682,  # traffic light
    0.000908465,  # traffic sign
    0.085546154,  # vegetation
    0.024132318,  # terrain
    0.152322856,  # sky
    0.004075210,  # person
    0.000344002,  # rider
    0.028268587,  # car
    0.012684053,  # truck
    0.004145477,  # bus
    0.000730180,  # train
    0.000354698,  # motorcycle
    0.0000610285,  # bicycle
)


def class_quota(prior: Sequence[float] | Tensor, beta: float = 0.1, absent: str = "none") -> Tensor:
    """Share of the pixels of each class that become seeds, r_c = min(1, β · (1 - ln w_c)).

    Args:
        prior: Pixel frequency w_c of C classes in the source; normalised here.
        beta: β; with 0.1 the quota is 0.1 at w = 1 and saturates at w = e⁻⁹.
        absent: Quota of classes with w_c = 0: ``none`` (0, never seeds) or ``all`` (1, which is
            the formula's limit).

    Returns:
        (C,) float64 in [0, 1].

    Raises:
        ValueError: If a frequency is negative or not finite, or all are 0; if an option is
            impossible.
    """
    if absent not in ABSENT:
        raise ValueError(f"absent={absent!r} is none of {ABSENT}")
    if not beta > 0:
        raise ValueError(f"beta={beta} is not positive")
    weights = torch.as_tensor(prior, dtype=torch.float64, device="cpu")
    if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()):
        raise ValueError("class frequencies must be finite and not negative")
    if not bool(weights.sum() > 0):
        raise ValueError("all class frequencies are 0")
    weights = weights / weights.sum()
    quota = (beta * (1 - weights.log())).clamp(max=1.0)
    return torch.where(weights > 0, quota, 0.0 if absent == "none" else 1.0)


def seed_share(prior: Sequence[float] | Tensor, quota: Tensor) -> float:
    """Share of all pixels that are seeds when classes occur as in ``prior``; both are (C,)."""
    weights = torch.as_tensor(prior, dtype=torch.float64, device="cpu")
    return float((weights * quota).sum() / weights.sum())


def seed_mask(
    uncertainty: Tensor,
    label: Tensor,
    quota: Tensor,
    *,
    min_pixels: int = 10,
    scope: str = "batch",
    ties: str = "include",
    valid: Tensor | None = None,
) -> Tensor:
    """The k_c = ceil(n_c · r_c) least uncertain of the n_c pixels of each class.

    One sort for all classes (float64 needs a second one), no loop over them and no wait for the
    device.

    Args:
        uncertainty: B ≥ 0, (N, H, W) float; compared in float32, float64 as it is. NaN is the
            most uncertain, a negative value counts as 0.
        label: (N, H, W) integers; pixels of no class (ignore index) are never seeds.
        quota: r, (C,) float in [0, 1]; 0 means no seeds. Brought to the labels' device.
        min_pixels: A class needs more pixels than this to have seeds.
        scope: ``batch``: classes are counted over the batch, as in the released code; ``image``:
            in each image.
        ties: ``include``: every pixel as uncertain as the k_c-th is a seed; ``exclude``: exactly
            k_c, the first ones in row-major order.
        valid: (N, H, W) bool or numbers; pixels of value 0 neither count nor become seeds.

    Returns:
        (N, H, W) bool.

    Raises:
        ValueError: For an unknown scope or rule for ties.
    """
    if scope not in SCOPES or ties not in TIES:
        raise ValueError(f"scope is one of {SCOPES}, ties one of {TIES}: {scope!r}, {ties!r}")
    classes = quota.shape[0]
    label = label.long()  # first: a narrow type cannot hold every number of classes
    counted = (label >= 0) & (label < classes)
    if valid is not None:
        counted = counted & (valid != 0)
    # One group more for pixels that do not count.
    group = torch.where(counted, label, classes)
    quota = quota.to(label.device, torch.float64)
    rate = torch.cat([quota, quota.new_zeros(1)])
    if scope == "image":
        batch = label.shape[0]
        first = torch.arange(batch, device=label.device) * (classes + 1)
        group = group + first.view(-1, 1, 1)
        rate = rate.repeat(batch)
    group = group.flatten()
    key = (group << 32) | _order(uncertainty.detach().flatten())
    if ties == "exclude":
        ordered, position = torch.sort(key, stable=True)
    else:
        ordered = torch.sort(key).values
    edges = torch.arange(rate.shape[0] + 1, device=label.device) << 32
    bounds = torch.searchsorted(ordered, edges)
    start, count = bounds[:-1], bounds.diff()
    wanted = torch.ceil(count * rate).long().clamp(min=1)
    open_ = (count > min_pixels) & (rate > 0)
    if ties == "exclude":
        ranks = torch.arange(key.shape[0], device=label.device)
        in_order = group[position]
        chosen = (ranks < (start + wanted)[in_order]) & open_[in_order]
        seeds = torch.zeros_like(chosen).scatter_(0, position, chosen)
    else:
        last = (start + wanted - 1).clamp(max=key.shape[0] - 1)
        seeds = (key <= ordered[last][group]) & open_[group]
    return seeds.view_as(label)


def _order(uncertainty: Tensor) -> Tensor:
    """Numbers in [0, 2³²) that sort, and tie, like the values (n,) do."""
    values = full_precision(uncertainty).nan_to_num(math.inf, math.inf).clamp(min=0)
    if values.dtype == torch.float32:
        # A float that is not negative sorts like its bits do; -0 would not, hence + 0.
        return (values + 0.0).view(torch.int32).long()
    ordered, position = values.sort()
    rank = torch.zeros_like(position)
    rank[1:] = (ordered[1:] > ordered[:-1]).cumsum(0)
    return torch.empty_like(rank).scatter_(0, position, rank)


def seed_ratios(label: Tensor, seeds: Tensor, classes: int) -> Tensor:
    """Share of each class' pixels that are seeds.

    Args:
        label: (N, H, W) int64; ids from ``classes`` on count for no class.
        seeds: (N, H, W) bool.
        classes: C.

    Returns:
        (C,) float32, 0 for a class without pixels.
    """
    ids = label.clamp(max=classes).flatten()
    counts = torch.zeros(2, classes + 1, device=label.device)
    counts[0].scatter_add_(0, ids, torch.ones_like(ids, dtype=counts.dtype))
    counts[1].scatter_add_(0, ids, seeds.flatten().to(counts))
    return (counts[1] / counts[0].clamp(min=1))[:classes]
