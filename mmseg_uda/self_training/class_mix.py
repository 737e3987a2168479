"""ClassMix: the pixels of half of the source classes pasted on a target image.

Olsson et al., "ClassMix", WACV 2021; across domains as in DACS (Tranheden et al., WACV 2021).
Everything stays on the device: which classes occur, and which half is taken, is never read by
the host.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmseg_uda.engine.records import SourceBatch, TargetBatch
from mmseg_uda.self_training.options import SelfTrainingOptions
from mmseg_uda.self_training.random import StepRandom
from mmseg_uda.self_training.records import MixedBatch, PseudoLabels


def class_ids(label: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """(B, H, W) int64 labels whose ignored pixels have the id after the last class."""
    return torch.where(label == ignore_index, num_classes, label)


def present_ids(ids: Tensor, num_ids: int, pool: str) -> Tensor:
    """Which ids occur.

    Args:
        ids: (B, H, W) int64 in [0, num_ids).
        num_ids: Number of ids.
        pool: ``batch``: one set for all images (DAFormer's code); ``per_image``: an image's
            own (the DACS paper).

    Returns:
        (B, num_ids) bool.
    """
    batch = ids.shape[0]
    found = torch.zeros(batch, num_ids, dtype=torch.bool, device=ids.device)
    found.scatter_(1, ids.flatten(1), True)
    return found.any(dim=0, keepdim=True).repeat(batch, 1) if pool == "batch" else found


def choose_half(present: Tensor, ranks: Tensor) -> Tensor:
    """Takes ⌈n / 2⌉ of the n present ids of each row, those of smallest rank.

    Args:
        present: (B, num_ids) bool.
        ranks: (B, num_ids), distinct within a row.

    Returns:
        (B, num_ids) bool.
    """
    absent_last = torch.where(present, ranks, torch.inf)
    position = absent_last.argsort(dim=1).argsort(dim=1)
    half = (present.sum(dim=1, keepdim=True) + 1) // 2
    return present & (position < half)


def class_mask(ids: Tensor, chosen: Tensor) -> Tensor:
    """(B, H, W) bool: pixels whose id is chosen, from (B, H, W) ids and (B, num_ids) bool."""
    return chosen.gather(1, ids.flatten(1)).view_as(ids)


def half_of_classes(
    ids: Tensor, num_classes: int, options: SelfTrainingOptions, random: StepRandom
) -> Tensor:
    """(B, H, W) bool: pixels of half of the classes that occur in ids (B, H, W) int64, drawn."""
    present = present_ids(ids, num_classes + 1, options.class_pool)
    if not options.paste_ignored:
        present[:, num_classes] = False
    ranks = random.class_ranks(len(ids), num_classes + 1, ids.device)
    return class_mask(ids, choose_half(present, ranks))


def mix(
    source: SourceBatch, target: TargetBatch, pseudo: PseudoLabels, pasted: Tensor
) -> MixedBatch:
    """Pastes source image i on target image i where ``pasted`` (B, H, W) bool."""
    return MixedBatch(
        image=torch.where(pasted.unsqueeze(1), source.image, target.image),
        label=torch.where(pasted, source.label, pseudo.label),
        weight=torch.where(pasted, 1.0, pseudo.weight),
        pasted=pasted,
    )
