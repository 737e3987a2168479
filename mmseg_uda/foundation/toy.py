"""A crop classifier without weights, whose answers can be planted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_uda.foundation.base import CropClassifier
from mmseg_uda.foundation.registry import CROP_CLASSIFIERS

_CELLS = 2


@CROP_CLASSIFIERS.register_module()
class ToyScorer(CropClassifier):
    """Tells regions by their mean colours (DynAlign).

    The image feature is a fixed random rotation of the mean colours of a 2 × 2 grid. A phrase in
    ``table`` has the feature of a crop of that colour; any other phrase one that is drawn from a
    hash of its letters and equal in every process.

    Args:
        table: Colour (R, G, B from 0 to 255) of phrases.
        dim: Length of a feature, 12 at least.
        input_size: Side of the network input in pixels.
        crop_mode: See :class:`CropClassifier`.
        preprocess: See :class:`CropClassifier`.
        dtype: See :class:`CropClassifier`.
        chunk: See :class:`CropClassifier`.
    """

    mean = std = (0.5, 0.5, 0.5)

    def __init__(
        self,
        table: Mapping[str, Sequence[float]] | None = None,
        dim: int = 32,
        input_size: int = 8,
        crop_mode: str | None = "stretch",
        preprocess: str = "tensor",
        dtype: str = "fp32",
        chunk: int = 128,
    ) -> None:
        super().__init__(crop_mode, preprocess, dtype, chunk)
        self.table = dict(table or {})
        self._dim = dim
        self._size = input_size
        noise = np.random.default_rng(0).normal(size=(dim, 3 * _CELLS**2))
        self._projection = torch.from_numpy(np.linalg.qr(noise)[0].T.astype(np.float32))

    @property
    def input_size(self) -> int:
        """Side of the square network input in pixels."""
        return self._size

    @property
    def embed_dim(self) -> int:
        """Length of a feature."""
        return self._dim

    @property
    def cache_key(self) -> str:
        """Names everything that features depend on."""
        return f"toy {sorted(self.table.items())} dim={self._dim} size={self._size}"

    def logit_scale(self, device: torch.device) -> Tensor:
        """100, as in CLIP."""
        return torch.tensor(100.0, device=device)

    def encode_text(self, prompts: Sequence[str], device: torch.device) -> Tensor:
        """Text features (P, D) float32, not normalised."""
        return torch.stack([self._phrase(prompt) for prompt in prompts]).to(device)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Image features (n, D) float32, not normalised."""
        cells = F.adaptive_avg_pool2d(pixels.float(), _CELLS).flatten(1)
        return cells @ self._projection.to(pixels.device)

    def _phrase(self, prompt: str) -> Tensor:
        if prompt in self.table:
            colour = (torch.tensor(self.table[prompt], dtype=torch.float32) / 255 - 0.5) / 0.5
            return self.encode_image(colour.view(1, 3, 1, 1).expand(1, 3, _CELLS, _CELLS))[0]
        seed = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8], "little")
        drawn = np.random.default_rng(seed).normal(size=self._dim)
        return torch.from_numpy(drawn.astype(np.float32))
