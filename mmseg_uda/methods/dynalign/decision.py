"""Which target class each region gets, for all regions at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LOGIT_SCALE = 100.0


@dataclass(frozen=True)
class Decision:
    """What was decided for M regions.

    Attributes:
        ids: (M,) int64 target ids; -1 for a region without a source class.
        name: (M,) int64, index of the best candidate's prompt-name; -1 as above, and for a region
            without a candidate.
        probability: (M,) float32 of the best candidate; 0 where ``name`` is -1.
        accepted: (M,) bool, the probability exceeds the threshold; else ``ids`` is the default.
    """

    ids: Tensor
    name: Tensor
    probability: Tensor
    accepted: Tensor


def candidate_probabilities(
    features: Tensor, text: Tensor, candidates: Tensor, scale: float = LOGIT_SCALE
) -> Tensor:
    """Softmax over each region's candidates.

    Args:
        features: (M, D) float, as :func:`~mmseg_uda.methods.dynalign.fusion.fuse` returns.
        text: (N, D) float, unit features of the prompt-names.
        candidates: (M, N) bool (or 0 and 1), which names compete for each region.
        scale: Factor on the products.

    Returns:
        (M, N) float32; 0 outside the candidates, and everywhere in a row without a candidate.
    """
    competing = candidates.bool()
    logits = scale * (features.float() @ text.float().t())
    probability = logits.masked_fill(~competing, -torch.inf).softmax(dim=1)
    # A row without a candidate is 0 / 0; NaN of a feature is not hidden.
    return probability.masked_fill(~competing.any(dim=1, keepdim=True), 0.0)


def decide(
    probability: Tensor,
    name_ids: Tensor,
    default_ids: Tensor,
    threshold: float,
    sum_per_id: bool = False,
) -> Decision:
    """Takes the best candidate where its probability exceeds the threshold, else the default.

    Args:
        probability: (M, N) float, see :func:`candidate_probabilities`.
        name_ids: (N,) int64, target id of each prompt-name.
        default_ids: (M,) int64, target id where no candidate is accepted; -1: no source class.
        threshold: τ; a probability equal to it is not enough.
        sum_per_id: Prompt-names of one target id add up before ids are compared, the lowest of
            equal ids wins; else every name stands for itself (as published), and the first of
            equal names wins.
    """
    compared, default_ids = probability.float(), default_ids.long()
    if probability.shape[1] == 0:  # no names at all
        nothing = torch.full_like(default_ids, -1)
        return Decision(default_ids, nothing, compared.new_zeros(len(compared)), nothing >= 0)
    name_ids = name_ids.long()
    if sum_per_id:
        summed = compared.new_zeros(len(compared), int(name_ids.max()) + 1)
        # Rounding must not lift a sum over 1, which would exceed a threshold of 1.
        best, ids = summed.index_add(1, name_ids, compared).clamp(max=1).max(dim=1)
        # The id's own best name stands for it in records.
        own = name_ids[None] == ids[:, None]
        name = compared.masked_fill(~own, -1).argmax(dim=1)
    else:
        best, name = compared.max(dim=1)
        ids = name_ids[name]
    # Compared in the probabilities' own precision: 0.6 of 32 bits equals a threshold of 0.6.
    limit = torch.tensor(threshold, dtype=best.dtype, device=best.device)
    voted = default_ids >= 0
    accepted = (best > limit) & voted
    decided = voted & (best > 0)
    return Decision(
        ids=torch.where(accepted, ids, default_ids),
        name=torch.where(decided, name, -1),
        probability=torch.where(decided, best, 0.0),
        accepted=accepted,
    )
