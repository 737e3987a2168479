"""The bank entry most similar to a target image: exact, batched, without copies of the bank."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from mmseg_uda.methods.cdda.similarity import image_similarity
from mmseg_uda.models.precision import exact_float32

# Two entries closer than this in float32 are compared again in float64. Their totals are sums of
# at most C terms of at most 1, each off by some 1e-7.
TIE = 2e-5
CANDIDATES = 16
SCORE_MEMORY = 64 * 2**20


@dataclass(frozen=True)
class Match:
    """The best entry for each target image.

    Attributes:
        index: (B,) int64, the lowest index among equals.
        score: (B,) float64 in [0, 1].
        similarity: (B, C) float64, per class.
        counts: (B, C, K) float32, the entry's histogram.
    """

    index: Tensor
    score: Tensor
    similarity: Tensor
    counts: Tensor


class BankSearch(ABC):
    """Finds best matches; :class:`ResidentSearch` and ``PrunedSearch`` differ in what they read."""

    device: torch.device
    norms: BankNorms

    @abstractmethod
    def __call__(self, target: Tensor, floor: float = 0.0) -> Match:
        """Searches for the entry of highest ``total`` (see ``image_similarity``).

        Args:
            target: (B, C, K) counts.
            floor: A score that is of no interest. If no entry exceeds it, any entry may be
                returned.
        """


class BankNorms:
    """What the similarity needs of each entry beside its counts.

    Args:
        pixels: (C, N) float32, pixels of each class.
        norm: (C, N) float32, L2 norm of each class's histogram.
    """

    def __init__(self, pixels: Tensor, norm: Tensor) -> None:
        self.pixels = pixels
        #: (C, N), 0 where the class is absent, so that its cosine is 0.
        self.inverse_norm = torch.where(norm > 0, 1 / norm, 0)
        size = torch.linalg.vector_norm(pixels, dim=0)
        #: (N, C), unit vectors of class sizes; 0 for entries without a labelled pixel.
        self.composition = torch.where(size > 0, pixels / size, 0).t().contiguous()


@dataclass(frozen=True)
class Factors:
    """Histograms as the two terms of the similarity need them.

    Attributes:
        product: (C, n, K) of which dot products are taken: counts, or the norms of blocks of them.
        distance: (C, n, J) of which L1 distances are taken: counts, or the sums of blocks of them.
    """

    product: Tensor
    distance: Tensor


def totals(
    bank: Factors,
    target: Factors,
    norms: BankNorms,
    counts: Tensor,
    min_class_pixels: int = 1,
    memory: int = SCORE_MEMORY,
) -> Tensor:
    """``total`` of every bank entry with every target, float32.

    Nothing of the size of the bank is allocated: one batched matrix product, one fused L1
    distance, and scores of (classes, N, B), a few classes at a time.

    Args:
        bank: Of N entries.
        target: Of B targets.
        norms: Of the bank.
        counts: (C, B, K), the targets' counts.
        min_class_pixels: As for ``image_similarity``.
        memory: Bytes for the scores of the classes that are treated at once.

    Returns:
        (N, B).
    """
    classes, entries, _ = bank.product.shape
    batch = counts.shape[1]
    pixels = counts.sum(-1)
    norm = torch.linalg.vector_norm(counts, dim=-1, keepdim=True)
    unit = torch.where(norm > 0, target.product / norm, 0).transpose(1, 2)
    half = 0.5 * (pixels >= max(min_class_pixels, 1))
    result = torch.zeros(entries, batch, device=counts.device)
    step = max(1, memory // (3 * 4 * entries * batch))
    for first in range(0, classes, step):
        part = slice(first, first + step)
        score = torch.bmm(bank.product[part], unit[part])
        score.mul_(norms.inverse_norm[part, :, None])
        # L1 distances of counts are whole numbers below 2 ** 24: exact in any order of summation.
        distance = torch.cdist(bank.distance[part], target.distance[part], p=1)
        # A class that neither has must not divide by 0; ``half`` removes it.
        distance.div_((norms.pixels[part, :, None] + pixels[part, None]).clamp_(min=1))
        score.sub_(distance).add_(1).mul_(half[part, None])
        result += score.sum(0)
    size = torch.linalg.vector_norm(pixels, dim=0)
    return result * (norms.composition @ torch.where(size > 0, pixels / size, 0))


class ResidentSearch(BankSearch):
    """Compares each target with the whole bank, which is held in memory.

    Args:
        counts: (C, N, K) whole numbers, on the device where the search runs; float32 is not
            copied. A memory-mapped tensor works, too: every search reads it once.
        min_class_pixels: As for ``image_similarity``.
        memory: See :func:`totals`.
    """

    def __init__(
        self, counts: Tensor, min_class_pixels: int = 1, memory: int = SCORE_MEMORY
    ) -> None:
        self.counts = counts = counts.float()
        self.device = counts.device
        self.min_class_pixels = min_class_pixels
        self.memory = memory
        with exact_float32(self.device), torch.no_grad():
            self.norms = BankNorms(counts.sum(-1), torch.linalg.vector_norm(counts, dim=-1))

    def __call__(self, target: Tensor, floor: float = 0.0) -> Match:
        """See :meth:`BankSearch.__call__`. Never waits for the device."""
        with exact_float32(self.device), torch.no_grad():
            target = target.to(self.device, torch.float32)
            mine = target.transpose(0, 1).contiguous()
            total = totals(
                Factors(self.counts, self.counts),
                Factors(mine, mine),
                self.norms,
                mine,
                self.min_class_pixels,
                self.memory,
            )
            return self._decide(total.t(), target)

    def _decide(self, total: Tensor, target: Tensor) -> Match:
        """The best of the entries that float32 cannot tell apart, by their exact totals."""
        entries = total.shape[1]
        near = total >= total.amax(1, keepdim=True) - TIE
        rank = torch.where(near, torch.arange(entries, 0, -1, device=self.device), 0)
        rank, candidate = rank.topk(min(CANDIDATES, entries), dim=1)  # lowest index first
        batch, number = candidate.shape
        counts = self.counts[:, candidate.flatten()].view(len(self.counts), batch, number, -1)
        counts = counts.permute(1, 2, 0, 3)
        exact = image_similarity(counts, target[:, None], self.min_class_pixels)
        value = torch.where(rank > 0, exact.total, -1.0)
        best = value == value.amax(1, keepdim=True)
        first = (best * torch.arange(number, 0, -1, device=self.device)).argmax(1)
        row = torch.arange(batch, device=self.device)
        return Match(
            candidate[row, first],
            exact.score[row, first],
            exact.classes[row, first],
            counts[row, first],
        )
