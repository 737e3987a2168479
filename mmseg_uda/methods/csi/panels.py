"""What CSI shows in a debug picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmseg_uda.engine.panels import Boxes, ImagePanel, LabelPanel, Panel
from mmseg_uda.methods.csi.patch_bank import PatchBank
from mmseg_uda.methods.csi.relabel import Region

UNCHANGED = 255  # outside every taxonomy: drawn as unlabelled


def relabel_panels(
    image: Tensor,
    regions: Sequence[Region],
    accepted: Tensor,
    targets: Sequence[int],
    label: Tensor,
    edited: Tensor,
) -> list[Panel]:
    """The detector's boxes over the target images, and the pixels that were relabelled.

    Args:
        image: (B, 3, H, W) RGB in [0, 1].
        regions: n boxes that were considered.
        accepted: (n,) bool, whether the crop classifier confirmed each; the others are dashed.
        targets: New class per entry of the relabelling map.
        label: (B, H, W) labels before.
        edited: (B, H, W) labels after.
    """
    corners = torch.tensor([(r.image, r.x0, r.y0, r.x1, r.y1) for r in regions]).view(-1, 5)
    boxes = Boxes(
        corners,
        classes=torch.tensor([targets[r.entry] for r in regions], dtype=torch.int64),
        scores=torch.tensor([r.score for r in regions]),
        accepted=accepted,
    )
    changed = torch.where(edited != label, edited, UNCHANGED)
    return [
        ImagePanel("CSI: boxes (dashed: rejected)", image, boxes=boxes),
        LabelPanel("CSI: relabelled pixels", changed),
    ]


def bank_panels(bank: PatchBank | None, names: Sequence[str]) -> list[Panel]:
    """The latest relabelled patches of each new class; none without a bank.

    Args:
        bank: The bank.
        names: New class per entry of the relabelling map.
    """
    if bank is None:
        return []
    return [ImagePanel(f"CSI: last patches, {n}", bank.sheet(i)) for i, n in enumerate(names)]
