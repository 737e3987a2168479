"""Proposers that group similar neighbouring pixels, with scikit-image."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from mmseg_uda.errors import UserError
from mmseg_uda.foundation.masks.base import MaskProposer
from mmseg_uda.foundation.masks.mask_set import MaskSet
from mmseg_uda.foundation.registry import MASK_PROPOSERS


@MASK_PROPOSERS.register_module()
class SLICProposer(MaskProposer):
    """Compact superpixels of about equal size (Achanta et al., TPAMI 2012).

    Args:
        segments: Superpixels per image, about.
        compactness: Weight of the distance in the image against that of Lab colours.
        sigma: Width of the Gaussian blur before, in pixels; 0 for none.
    """

    def __init__(self, segments: int = 400, compactness: float = 10.0, sigma: float = 1.0) -> None:
        if segments < 1 or compactness <= 0 or sigma < 0:
            raise UserError(
                f"SLICProposer: segments={segments}, compactness={compactness}, sigma={sigma}.",
                fix="Segments and compactness positive, sigma 0 or more.",
            )
        self.segments = segments
        self.compactness = compactness
        self.sigma = sigma

    @property
    def cache_key(self) -> str:
        """See :class:`MaskProposer`."""
        return f"slic-n{self.segments}-c{self.compactness}-s{self.sigma}"

    def propose(
        self, image: np.ndarray, labels: np.ndarray | None = None, name: str | None = None
    ) -> MaskSet:
        """The superpixels; they cover the image once."""
        segments = _segmentation("SLICProposer").slic(
            image,
            n_segments=self.segments,
            compactness=self.compactness,
            sigma=self.sigma,
            start_label=0,
        )
        return MaskSet.from_label_map(segments)


@MASK_PROPOSERS.register_module()
class FelzenszwalbProposer(MaskProposer):
    """Graph-based regions of very different size (Felzenszwalb and Huttenlocher, IJCV 2004).

    Args:
        scale: Larger values give larger regions.
        sigma: Width of the Gaussian blur before, in pixels; 0 for none.
        min_size: Smaller regions are joined to a neighbour, in pixels.
    """

    def __init__(self, scale: float = 200.0, sigma: float = 0.8, min_size: int = 100) -> None:
        if scale <= 0 or sigma < 0 or min_size < 1:
            raise UserError(
                f"FelzenszwalbProposer: scale={scale}, sigma={sigma}, min_size={min_size}.",
                fix="Scale and min_size positive, sigma 0 or more.",
            )
        self.scale = scale
        self.sigma = sigma
        self.min_size = min_size

    @property
    def cache_key(self) -> str:
        """See :class:`MaskProposer`."""
        return f"felzenszwalb-k{self.scale}-s{self.sigma}-min{self.min_size}"

    def propose(
        self, image: np.ndarray, labels: np.ndarray | None = None, name: str | None = None
    ) -> MaskSet:
        """The regions; they cover the image once."""
        segments = _segmentation("FelzenszwalbProposer").felzenszwalb(
            image, scale=self.scale, sigma=self.sigma, min_size=self.min_size
        )
        return MaskSet.from_label_map(segments)


def _segmentation(owner: str) -> Any:
    try:
        return importlib.import_module("skimage.segmentation")
    except ImportError as error:
        raise UserError(
            f"{owner} needs the package scikit-image.",
            fix="pip install scikit-image, or choose another proposer.",
        ) from error
