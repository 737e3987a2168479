"""Whether a crop is what the detector took it for (CSI, Sec. 3; values of its code)."""

from __future__ import annotations

import torch
from torch import Tensor

CLIP_SCORES = ("max_prompt", "sum_class")


def crop_decision(
    logits: Tensor, in_group: Tensor, prompt_class: Tensor, rule: str = "max_prompt"
) -> tuple[Tensor, Tensor]:
    """Class and confidence of crops among the classes of a super-category.

    Args:
        logits: (n, P) similarity of each crop to every phrase of the taxonomy.
        in_group: (n, P) bool, phrases of the classes that compete for the crop.
        prompt_class: (P,) int64, class of each phrase.
        rule: ``max_prompt``: the confidence is the probability of the best single phrase, as
            published; ``sum_class``: probabilities of a class's phrases are added first.

    Returns:
        Predicted class (n,) int64 and confidence (n,) float32, rounded to 4 decimals.
    """
    probability = logits.float().masked_fill(~in_group, -torch.inf).softmax(dim=1)
    if rule == "sum_class":
        # A scatter as wide as the phrases: its width does not depend on a value on the device.
        owner = prompt_class.expand_as(probability)
        summed = torch.zeros_like(probability).scatter_add(1, owner, probability)
        confidence, predicted = summed.max(dim=1)
    else:
        confidence, best = probability.max(dim=1)
        predicted = prompt_class[best]
    return predicted, confidence.round(decimals=4)


def accept_crops(
    predicted: Tensor, confidence: Tensor, target: Tensor, threshold: Tensor
) -> Tensor:
    """(n,) bool: the prediction is the target class and its confidence exceeds the threshold."""
    return (predicted == target) & (confidence > threshold)
