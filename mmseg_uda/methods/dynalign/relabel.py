"""From features of regions to a label map of the target taxonomy: cheap, without any network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmseg_uda.foundation.masks import MaskSet
from mmseg_uda.methods.dynalign.decision import Decision, candidate_probabilities, decide
from mmseg_uda.methods.dynalign.fusion import fuse
from mmseg_uda.methods.dynalign.options import Options
from mmseg_uda.methods.dynalign.painting import assemble, default_layer, id_dtype, nearest

FULL_CONFIDENCE = 255


@dataclass(frozen=True)
class Vocabulary:
    """The target taxonomy as numbers: K source classes, N prompt-names.

    Attributes:
        names: Prompt-names.
        name_ids: (N,) int64, target id of each.
        candidates: (K, N) bool, which names compete for regions of each source class.
        default: (K,) int64, target id of each source class.
        text: (N, D) float32, unit text features; (N, 0) where nothing is to be decided.
        void_id: Target id of pixels without a source class.
    """

    names: tuple[str, ...]
    name_ids: Tensor
    candidates: Tensor
    default: Tensor
    text: Tensor
    void_id: int = 255


@dataclass(frozen=True)
class Features:
    """Features of M regions; rows of regions without a source class are zero.

    Attributes:
        masked: (M, D), or their blend with the context where ``context`` is None.
        context: (M, S, D) or None.
    """

    masked: np.ndarray
    context: np.ndarray | None

    def fused(self, options: Options) -> Tensor:
        """(M, D) float32."""
        masked = torch.from_numpy(self.masked).float()
        if self.context is None:
            return masked
        context = torch.from_numpy(self.context).float()
        return fuse(masked, context, options.fusion, options.renormalize)


@dataclass(frozen=True)
class Relabelled:
    """The result for one image of h × w pixels at working size, with M regions.

    Attributes:
        labels: (h, w) uint8 or uint16 target ids.
        confidence: (h, w) uint8, see :func:`confidence_map`.
        majority: (M,) int64 source class, -1 for none.
        decision: Of every region.
        candidates: (M, N) bool, the prompt-names that competed.
        probability: (M, N) float32 of every prompt-name.
        changed: (M,) bool, regions whose class is not their source class's default.
    """

    labels: np.ndarray
    confidence: np.ndarray
    majority: np.ndarray
    decision: Decision
    candidates: Tensor
    probability: Tensor
    changed: Tensor

    def at(self, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """``labels`` and ``confidence`` at another height and width, nearest neighbour."""
        return nearest(self.labels, size), nearest(self.confidence, size)


def relabel(
    masks: MaskSet,
    source: np.ndarray,
    majority: np.ndarray,
    features: Features,
    vocabulary: Vocabulary,
    options: Options,
) -> Relabelled:
    """Decides every region and paints the result over the default layer.

    Args:
        masks: M regions of an image of h × w pixels.
        source: (h, w) source prediction.
        majority: (M,) int64 source class of each region, -1 for none.
        features: Of the M regions.
        vocabulary: Of the target taxonomy.
        options: Those of fusion, probabilities and threshold.
    """
    known = torch.from_numpy(majority >= 0)
    row = torch.from_numpy(np.maximum(majority, 0))
    candidates = vocabulary.candidates[row] & known[:, None]
    if candidates.any():
        probability = candidate_probabilities(
            features.fused(options), vocabulary.text, candidates, options.logit_scale
        )
    else:
        probability = torch.zeros(len(masks), len(vocabulary.names))
    default = torch.where(known, vocabulary.default[row], -1)
    decision = decide(
        probability, vocabulary.name_ids, default, options.threshold, options.sum_per_id
    )
    ids, void = vocabulary.default.tolist(), vocabulary.void_id
    # One type of file for all images, whatever they show.
    dtype = id_dtype([*ids, *vocabulary.name_ids.tolist(), void])
    base = default_layer(source, ids, void).astype(dtype, copy=False)
    return Relabelled(
        labels=assemble(masks, decision.ids.numpy(), base),
        confidence=confidence_map(masks, decision, options.confidence_default),
        majority=majority,
        decision=decision,
        candidates=candidates,
        probability=probability,
        changed=decision.ids != default,
    )


def confidence_map(masks: MaskSet, decision: Decision, default: int = 0) -> np.ndarray:
    """How sure each pixel's class is, as a file of 8 bits keeps it.

    Returns:
        (h, w) uint8: round(255 · p) where a candidate was accepted, ``default`` where a region
        kept its default class, 0 where no region lies.
    """
    accepted = (decision.probability * FULL_CONFIDENCE).round().long()
    values = torch.where(decision.accepted, accepted, default)
    values = torch.where(decision.ids >= 0, values, -1)
    return assemble(masks, values.numpy(), np.zeros(masks.size, dtype=np.uint8))
