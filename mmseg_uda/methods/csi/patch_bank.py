"""The latest patches that became each new class, for pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_uda.methods.csi.relabel import Region

PATCH = 64  # pixels
COLUMNS = 5


class PatchBank(nn.Module):
    """Keeps the last relabelled patches of each entry, first in, first out, on the device.

    Nothing of it is in a checkpoint, and nothing but pictures depends on it.

    Args:
        entries: Number of entries of the relabelling map.
        capacity: Patches kept of each.
    """

    patches: Tensor
    written: Tensor

    def __init__(self, entries: int, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        # One place more takes what is not kept: which boxes are confirmed, only the device knows.
        shape = (entries, capacity + 1, 3, PATCH, PATCH)
        self.register_buffer("patches", torch.zeros(shape, dtype=torch.uint8), persistent=False)
        self.register_buffer("written", torch.zeros(entries, dtype=torch.int64), persistent=False)

    @torch.no_grad()
    def add(self, images: Tensor, regions: Sequence[Region], accepted: Tensor) -> None:
        """Keeps the confirmed boxes of a batch.

        Args:
            images: (B, 3, H, W) RGB in [0, 1].
            regions: n boxes.
            accepted: (n,) bool on the device of the images.
        """
        for i, r in enumerate(regions):
            crop = images[r.image : r.image + 1, :, r.y0 : r.y1, r.x0 : r.x1].float()
            patch = F.interpolate(crop, (PATCH, PATCH), mode="bilinear", align_corners=False)[0]
            place = torch.where(accepted[i], self.written[r.entry] % self.capacity, self.capacity)
            self.patches[r.entry].index_copy_(0, place[None], (patch * 255).byte()[None])
            self.written[r.entry] += accepted[i]

    def sheet(self, entry: int) -> Tensor:
        """(1, 3, h, w) in [0, 1]: the patches of an entry in rows of five; empty places black."""
        patches = self.patches[entry, : self.capacity].float() / 255
        columns = min(COLUMNS, self.capacity)
        missing = -self.capacity % columns
        patches = torch.cat([patches, patches.new_zeros(missing, *patches.shape[1:])])
        rows = patches.view(-1, columns, 3, PATCH, PATCH).permute(2, 0, 3, 1, 4)
        return rows.reshape(1, 3, -1, columns * PATCH)
