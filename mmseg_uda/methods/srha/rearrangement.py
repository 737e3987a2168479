"""Semantic rearrangement: regions of an image exchange their styles.

A style is the mean and the standard deviation of every channel within a region. Each region gets
a random mixture of the styles of all regions of its image; with the published concentration that
is nearly always the style of one of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmseg_uda.methods.srha.regions import Regions, find_regions
from mmseg_uda.models.precision import exact_float32, full_precision
from mmseg_uda.self_training.random import log_gamma_variates

EPS = 1e-7


def normalize_log_weights(log_gamma: Tensor, present: Tensor) -> Tensor:
    """Turns gamma variates into Dirichlet weights, in log space: nothing can underflow.

    Args:
        log_gamma: (B, R, R) logarithms of gamma variates, one row per receiving region.
        present: (B, R) bool, or numbers that are not 0: regions that take part.

    Returns:
        (B, R, R) float32; rows sum to 1 over the present donors, other donors have 0. Images
        without any region have rows of 0.
    """
    donors = present[:, None, :].bool()
    # Finite numbers instead of -inf: for images without regions, and for rows of variates of 0.
    least = torch.finfo(torch.float32).min
    masked = torch.where(donors, log_gamma.float().clamp(min=least / 2), least)
    return masked.softmax(dim=-1) * donors


def dirichlet_weights(
    present: Tensor, concentration: float = 0.0156, generator: torch.Generator | None = None
) -> Tensor:
    """Draws symmetric Dirichlet weights over the present regions of each image.

    Args:
        present: (B, R) bool, or numbers that are not 0.
        concentration: α > 0; small values concentrate the weight on one donor.
        generator: On the CPU; torch's global one when absent.

    Returns:
        (B, R, R) float32: row r of image b are the weights with which region r mixes the
        styles of all regions. See :func:`normalize_log_weights`.
    """
    shape = (*present.shape, present.shape[-1])
    drawn = log_gamma_variates(concentration, shape, generator)
    return normalize_log_weights(drawn.to(present.device), present)


@torch.no_grad()
def rearrange(h: Tensor, regions: Regions, weights: Tensor) -> Tensor:
    """Gives every region of every image a mixture of its image's styles.

    Args:
        h: (B, C, h, w), any type; computed in float32, float64 in its own.
        regions: The images' regions at that resolution.
        weights: (B, R, R); row r mixes means and standard deviations for region r.

    Returns:
        (B, C, h, w) in the type of ``h`` (of integers float32), without gradient. Pixels of a
        region that does not count stay as they are.
    """
    with exact_float32(h.device):
        values = full_precision(h)
        mean = regions.means(values)
        centred = values - regions.spread(mean)
        # What the mean was rounded by would be all of a constant region's deviation.
        rounded = regions.means(centred)
        mean += rounded
        centred -= regions.spread(rounded)
        # two passes: E[x²] − μ² would cancel
        std = regions.means(centred.square()).sqrt() + EPS
        mix = weights.to(values.dtype).transpose(1, 2)
        new_mean, new_std = torch.bmm(mean, mix), torch.bmm(std, mix)
        centred *= regions.spread(new_std / std)
        centred += regions.spread(new_mean)
        counts = regions.present.gather(1, regions.ids.flatten(1)).view_as(regions.ids)
        styled = torch.where(counts[:, None], centred, values)
        return styled.to(h.dtype) if h.is_floating_point() else styled


class SemanticRearrangement(nn.Module):
    """:func:`rearrange` with weights of its own drawing.

    Args:
        num_classes: Number of classes; R is one more.
        concentration: α of the Dirichlet distribution (published: 0.0156, about 2⁻⁶).
        ignore_as_region: Whether an image's unlabelled pixels are a region like any other.
        generator: Source of the weights, on the CPU; torch's global one when absent.
    """

    def __init__(
        self,
        num_classes: int,
        concentration: float = 0.0156,
        ignore_as_region: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.concentration = concentration
        self.ignore_as_region = ignore_as_region
        self.generator = generator

    def forward(
        self, h: Tensor, label: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rearranges the styles of feature maps.

        Args:
            h: (B, C, h, w), any type.
            label: (B, H, W), any integer type.
            weights: (B, R, R) to be used instead of new ones.

        Returns:
            The maps (B, C, h, w), the weights (B, R, R) and the regions' presence (B, R).
        """
        regions = find_regions(label, h.shape[-2:], self.num_classes, self.ignore_as_region)
        if weights is None:
            weights = dirichlet_weights(regions.present, self.concentration, self.generator)
        return rearrange(h, regions, weights), weights, regions.present
