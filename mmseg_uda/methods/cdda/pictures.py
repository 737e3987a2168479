"""What a debug picture shows of a step."""

from __future__ import annotations

import torch
from torch import Tensor

from mmseg_uda.engine.panels import BarsPanel, ImagePanel, LabelPanel, MapPanel, Panel
from mmseg_uda.engine.records import SourceBatch
from mmseg_uda.methods.cdda.decision import HostDecision
from mmseg_uda.methods.cdda.guidance import soft_label
from mmseg_uda.methods.cdda.search import Match
from mmseg_uda.self_training.records import PseudoLabels


def decision_panels(
    match: Match,
    table: Tensor,
    bins: Tensor,
    depth: Tensor,
    pseudo: PseudoLabels,
    weight: Tensor,
) -> list[Panel]:
    """Depth, similarities, weights before and after, soft label of the missing classes.

    Args:
        match: Best entries.
        table: (B, C, K) soft mass of missing classes.
        bins: (B, H, W) int64 depth bins of the targets, K where a depth is in none.
        depth: (B, H, W) target depth.
        pseudo: Labels, and weights before.
        weight: (B, H, W) weights after.
    """
    soft = soft_label(pseudo.label, bins, table)
    missing = table.sum(-1) > 0
    mass = (soft * missing[:, :, None, None]).sum(1)
    similarity = torch.where(match.similarity > 0, match.similarity, torch.nan)
    return [
        MapPanel("CDDA depth (bright = far)", depth.float(), limits=(0.0, 255.0)),
        BarsPanel("CDDA class similarity", {"similarity": similarity}, limits=(0.0, 1.0)),
        MapPanel("CDDA weight before", pseudo.weight),
        MapPanel("CDDA weight after", weight),
        MapPanel("CDDA mass of missing classes", mass),
        LabelPanel("CDDA likeliest class of the soft label", soft.argmax(1)),
    ]


def crop_panels(matched: SourceBatch, decision: HostDecision, replaces: bool) -> list[Panel]:
    """The best crops with their labels and scores.

    Args:
        matched: The best crop of every image.
        decision: Their scores.
        replaces: Whether similar ones replace the source images.
    """
    captions = [
        f"entry {entry}, score {score:.3f}" + (", pasted" if similar and replaces else "")
        for entry, score, similar in zip(
            decision.entries, decision.scores, decision.similar, strict=True
        )
    ]
    return [
        ImagePanel("CDDA matched bank crop", matched.rgb(), captions=captions),
        LabelPanel("CDDA label of the bank crop", matched.label),
    ]
