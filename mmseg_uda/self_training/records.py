"""What the stages of the self-training step hand to each other."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class PseudoLabels:
    """A teacher's opinion of a target batch.

    Attributes:
        label: (B, H, W) int64, the teacher's class of every pixel; never the ignore index.
        confidence: (B, H, W) float32, the probability of that class.
        confident: (B, H, W) bool, confidence at or above the threshold.
        share: (B,) float32, share of confident pixels, counted before any margin is removed:
            one value for the whole batch (DAFormer's code) or one per image (the paper).
        weight: (B, H, W) float32 loss weight of every pixel.
        primary: True for the labels of the host's own teacher, False for another teacher's
            (a component that counts things counts the primary ones only).
    """

    label: Tensor
    confidence: Tensor
    confident: Tensor
    share: Tensor
    weight: Tensor
    primary: bool = True

    def masked(self, valid: Tensor | None) -> PseudoLabels:
        """Weights multiplied by ``valid`` ((B, H, W) or None); labels are untouched."""
        return self if valid is None else replace(self, weight=self.weight * valid)


@dataclass(frozen=True)
class MixedBatch:
    """Source pixels pasted on target images.

    Attributes:
        image: (B, 3, H, W) float32, normalised RGB, strongly augmented.
        label: (B, H, W) int64, source label where pasted, pseudo-label elsewhere.
        weight: (B, H, W) float32, 1 where pasted, the pseudo-label's weight elsewhere.
        pasted: (B, H, W) bool.
    """

    image: Tensor
    label: Tensor
    weight: Tensor
    pasted: Tensor
