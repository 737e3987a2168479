"""The maps on which the truncated CRF loss is computed for a target batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmseg_uda.engine.records import TargetBatch
from mmseg_uda.errors import UserError
from mmseg_uda.methods.ssda.crf import pool, pool_gate
from mmseg_uda.methods.ssda.options import KEY, CrfOptions
from mmseg_uda.models.views import upsample


@dataclass(frozen=True)
class CrfInputs:
    """Arguments of ``truncated_crf_loss`` and ``crf_energy``.

    Attributes:
        maps: Probability (N, C, h, w), modalities, source gate and destination gate (N, h, w).
        options: Kernels and radius.
    """

    maps: tuple[Tensor, dict[str, Tensor], Tensor, Tensor]
    options: dict[str, Any]

    @property
    def active(self) -> Tensor:
        """0-dim share of cells that send or receive; the others are mixed or not valid."""
        return (self.maps[2] + self.maps[3]).clamp(max=1).mean()

    @staticmethod
    def create(
        options: CrfOptions,
        logits: Tensor,
        target: TargetBatch,
        seeds: Tensor,
        valid: Tensor | None,
    ) -> CrfInputs:
        """Brings everything to the loss' grid.

        Args:
            options: Grid, colour space, rule for gates.
            logits: The student's (N, C, h, w).
            target: Images that the student saw.
            seeds: (N, H, W) bool.
            valid: (N, H, W) of 0 and 1, or None.

        Raises:
            UserError: If the grid is finer than the image.
        """
        logits = logits.float()
        size = options.size(logits.shape[-2:])
        image_size = tuple(target.image.shape[-2:])
        if size[0] > image_size[0] or size[1] > image_size[1]:
            raise UserError(
                f"{KEY}.crf.resolution={options.resolution!r} asks for a grid of {size} cells, the "
                f"image has {image_size} pixels.",
                fix="Give 'native', or at most the size of the training crop.",
            )
        probability = torch.softmax(upsample(logits, size), dim=1)
        with torch.no_grad():
            # Averaging first: it and the affine map commute, and the grid is small.
            colour = pool(target.image.float(), size, "image")
            if options.rgb_space == "unit":
                colour = target.normalization.to_rgb(colour)
            source, destination = (pool_gate(g, size, options.gate) for g in (seeds, ~seeds))
            if valid is not None and options.respect_valid:
                inside = pool_gate(valid, size, options.gate)
                source, destination = source * inside, destination * inside
        return CrfInputs(
            (probability, {"rgb": colour}, source, destination),
            {"kernels": options.kernels, "radius": options.radius},
        )
