"""What a region proposer promises to the methods that use it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch

from mmseg_uda.foundation.lazy import Adapter
from mmseg_uda.foundation.masks.mask_set import MaskSet


class MaskProposer(Adapter, ABC):
    """Class-agnostic regions of an image (DynAlign).

    Attributes:
        needs_labels: Whether :meth:`propose` reads ``labels``.
        needs_name: Whether :meth:`propose` reads ``name``.
        device: Where its network runs, if it has one; the owner sets it.
    """

    needs_labels: bool = False
    needs_name: bool = False
    device: torch.device | str = "cpu"

    @property
    @abstractmethod
    def cache_key(self) -> str:
        """Names everything but the arguments of :meth:`propose` that its result depends on."""

    @abstractmethod
    def propose(
        self, image: np.ndarray, labels: np.ndarray | None = None, name: str | None = None
    ) -> MaskSet:
        """Regions of one image, possibly none, possibly overlapping.

        Args:
            image: (H, W, 3) uint8 RGB at working size.
            labels: (H, W) integers, the source prediction at the same size.
            name: Path of the image below its root without suffix, with ``/`` between folders.

        Raises:
            UserError: Weights, a package or a file that it needs is missing or damaged.
        """
