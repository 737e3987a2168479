"""What a caller knows about one image in the source taxonomy, as the source of its prediction."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from mmseg_uda.apis.alignment.segmentor_source import SegmentorSource
from mmseg_uda.errors import UserError
from mmseg_uda.methods.dynalign import SourcePrediction, SourcePredictor, nearest

Source: TypeAlias = "np.ndarray | Tensor | nn.Module"
KEY = "given"


def predictor_of(source: Source) -> SourcePredictor:
    """The predictor of labels (H, W) integers, of logits (K, H, W) float, or of a segmentor.

    Raises:
        UserError: It is none of them.
    """
    if isinstance(source, nn.Module):
        return SegmentorSource(lambda: source, KEY)
    values = torch.as_tensor(source)
    if values.ndim == 3:
        return GivenLogits(values)
    if values.ndim != 2 or values.is_floating_point():
        raise UserError(
            f"A source prediction of shape {tuple(values.shape)}, {values.dtype}, is neither "
            "labels (H, W) nor logits (K, H, W).",
            fix="Give one of them, or a segmentor.",
        )
    return GivenLabels(values)


class GivenLabels(SourcePredictor):
    """Labels of one image.

    Args:
        labels: (H, W) integers of any size.
    """

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels.cpu().numpy().astype(np.uint16)

    def key(self, path: Path, name: str) -> str:
        """Of one image alone."""
        return KEY

    def predict(
        self,
        image: np.ndarray,
        name: str,
        shape: tuple[int, int],
        resize: str = "logits",
        probabilities: bool = False,
    ) -> SourcePrediction:
        """The labels, nearest neighbour; see :class:`SourcePredictor`."""
        if probabilities:
            raise UserError("Soft votes need logits or a segmentor.", fix="Or use vote='hard'.")
        return SourcePrediction(nearest(self.labels, shape))


class GivenLogits(SourcePredictor):
    """Logits of one image.

    Args:
        logits: (K, H, W) float of any size.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits.detach().float().cpu()

    def key(self, path: Path, name: str) -> str:
        """Of one image alone."""
        return KEY

    def predict(
        self,
        image: np.ndarray,
        name: str,
        shape: tuple[int, int],
        resize: str = "logits",
        probabilities: bool = False,
    ) -> SourcePrediction:
        """The logits, bilinear; see :class:`SourcePredictor`."""
        wanted = tuple(shape) if resize == "logits" else image.shape[:2]
        scores = self.logits
        if tuple(scores.shape[1:]) != wanted:
            scores = nn.functional.interpolate(
                scores[None], wanted, mode="bilinear", align_corners=False
            )[0]
        labels = scores.argmax(0).numpy().astype(np.uint16)
        soft = None
        if probabilities:
            soft = np.stack([nearest(plane, shape) for plane in scores.softmax(0).numpy()])
        return SourcePrediction(nearest(labels, shape), soft)
