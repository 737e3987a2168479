"""Region proposals scored by a crop classifier, behind OWL-ViT's interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.foundation.base import CropClassifier, Detector
from mmseg_uda.foundation.proposals import (
    find_regions,
    grid_boxes,
    inner_boxes,
    merged_boxes,
    rank_boxes,
)
from mmseg_uda.foundation.registry import CROP_CLASSIFIERS, DETECTORS

PROPOSALS = ("segments", "grid", "both")
RIVALS = ("all", "background")
# Log-odds are kept finite: a score of 1 - 1e-12.
_MAX_LOG_ODDS = 27.6


@DETECTORS.register_module()
class ProposalDetector(Detector):
    """An open-vocabulary detector made of proposals and a CLIP-like model.

    The score of a box for a phrase is the phrase's softmax probability among its rivals; the logit
    is its log-odds, so that ``sigmoid(logit)`` is the probability. Without background phrases every
    box would be forced onto a queried one.

    Args:
        classifier: Config of a crop classifier, or the classifier.
        proposals: Where boxes of objects come from: ``segments`` (merged colour regions),
            ``grid`` (sliding windows) or ``both``; the best are kept.
        max_proposals: Boxes of objects per image.
        max_inner: Boxes inside large regions per image, for classes without a shape. The
            classifier's time is proportional to ``max_proposals + max_inner``.
        min_side: Shortest side of a box in pixels.
        max_area: Boxes that cover a larger share of the image are dropped.
        overlap: IoU above which the worse of two boxes of objects is dropped.
        grid_sizes: See :func:`mmseg_uda.foundation.proposals.grid_boxes`.
        grid_aspects: See :func:`mmseg_uda.foundation.proposals.grid_boxes`.
        grid_stride: See :func:`mmseg_uda.foundation.proposals.grid_boxes`.
        context: Each box is enlarged by this share of its size on every side for the classifier;
            the box that is returned stays as proposed.
        background: Background phrases; None takes the ones that the caller passes to ``detect``.
        rivals: ``all``: a phrase competes with the background and with the other queried phrases,
            its synonyms included; ``background``: with the background alone.
        temperature: Divides the classifier's logits before the softmax.
    """

    def __init__(
        self,
        classifier: dict | CropClassifier,
        proposals: str = "segments",
        max_proposals: int = 10,
        max_inner: int = 6,
        min_side: float = 10,
        max_area: float = 0.6,
        overlap: float = 0.5,
        grid_sizes: Sequence[float] = (0.35, 0.6),
        grid_aspects: Sequence[float] = (1.0, 2.0),
        grid_stride: float = 0.5,
        context: float = 0.0,
        background: Sequence[str] | None = None,
        rivals: str = "all",
        temperature: float = 1.0,
    ) -> None:
        require_choice("ProposalDetector: rivals", rivals, RIVALS)
        require_choice("ProposalDetector: proposals", proposals, PROPOSALS)
        if (
            max_proposals < 1
            or max_inner < 0
            or temperature <= 0
            or not 0 < max_area <= 1
            or grid_stride <= 0
        ):
            raise UserError(
                "ProposalDetector: max_proposals, temperature and grid_stride must be positive, "
                "max_inner 0 or more, max_area in (0, 1].",
                fix="Correct the detector's options in the config.",
            )
        self.classifier: CropClassifier = (
            classifier
            if isinstance(classifier, CropClassifier)
            else CROP_CLASSIFIERS.build(classifier)
        )
        self.proposals = proposals
        self.max_proposals = max_proposals
        self.max_inner = max_inner
        self.min_side = min_side
        self.max_area = max_area
        self.overlap = overlap
        self.grid: dict[str, Any] = {
            "sizes": tuple(grid_sizes),
            "aspects": tuple(grid_aspects),
            "stride": grid_stride,
        }
        self.context = context
        self.background = None if background is None else tuple(background)
        self.rivals = rivals
        self.temperature = temperature

    def load(self) -> None:
        """Loads the classifier's weights now instead of at first use."""
        self.classifier.load()

    @torch.no_grad()
    def detect(
        self, images: Tensor, prompts: Sequence[str], background: Sequence[str] = ()
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`Detector.detect`; N is the largest number of proposals of an image.

        Rows without a proposal have logits of the lowest float (score 0) and empty boxes.
        """
        batch, _, height, width = images.shape
        found = [torch.from_numpy(boxes) for boxes in self.propose(images)]
        n_boxes = max(1, *(len(boxes) for boxes in found))
        index = torch.cat([torch.full((len(b),), i) for i, b in enumerate(found)]).long()
        slot = torch.cat([torch.arange(len(b)) for b in found])
        flat = torch.cat(found)
        crops = self._enlarge(flat, height, width).to(images.device)

        logits = images.new_full(
            (batch, n_boxes, len(prompts)), torch.finfo(torch.float32).min, dtype=torch.float32
        )
        boxes = torch.zeros(batch, n_boxes, 4)
        if len(flat) == 0:
            return logits, boxes.to(images.device)
        # A queried phrase that the caller also counts as background is not its own rival.
        others = background if self.background is None else self.background
        phrases = [*prompts, *(p for p in others if p not in set(prompts))]
        scores = self.classifier.classify(images, phrases, crops, index.to(images.device))
        log_odds = self._log_odds(scores.double() / self.temperature, len(prompts)).float()

        logits[index, slot] = log_odds
        size = torch.tensor([width, height, width, height], dtype=torch.float32)
        low, high = flat[:, :2], flat[:, 2:]
        boxes[index, slot] = torch.cat([(low + high) / 2, high - low], dim=1) / size
        return logits, boxes.to(images.device)

    def propose(self, images: Tensor) -> list[np.ndarray]:
        """Boxes to score: per image (n, 4) float32 x0, y0, x1, y1 in pixels, n >= 0.

        Args:
            images: (B, 3, H, W) float, RGB in [0, 1].
        """
        height, width = images.shape[-2:]
        windows = np.zeros((0, 4), dtype=np.float32)
        if self.proposals != "segments":
            windows = grid_boxes(height, width, **self.grid)
        found = []
        for image in (images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy():
            regions = find_regions(np.ascontiguousarray(image))
            pool = windows
            if self.proposals != "grid":
                pool = np.concatenate([merged_boxes(regions), windows])
            boxes = rank_boxes(
                regions, pool, self.max_proposals, self.overlap, self.min_side, self.max_area
            )
            inner = inner_boxes(regions, self.max_inner, self.min_side)
            found.append(np.concatenate([boxes, inner]))
        return found

    def _log_odds(self, scores: Tensor, queried: int) -> Tensor:
        """(n, P) scores to (n, Q) log-odds of the first Q phrases against their rivals."""
        if self.rivals == "background":
            odds = scores[:, :queried] - scores[:, queried:].logsumexp(1, keepdim=True)
        else:
            odds = torch.logit(scores.softmax(1)[:, :queried])
        return odds.clamp(-_MAX_LOG_ODDS, _MAX_LOG_ODDS)

    def _enlarge(self, boxes: Tensor, height: int, width: int) -> Tensor:
        margin = self.context * (boxes[:, 2:] - boxes[:, :2])
        limit = torch.tensor([width, height], dtype=torch.float32)
        low = (boxes[:, :2] - margin).floor().clamp(min=0)
        high = torch.minimum((boxes[:, 2:] + margin).ceil(), limit)
        return torch.cat([low, high], dim=1).long()
