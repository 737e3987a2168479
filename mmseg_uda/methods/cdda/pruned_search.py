"""Exact search of a bank on disk that reads a small part of it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmseg_uda.methods.cdda.search import (
    BankNorms,
    BankSearch,
    Factors,
    Match,
    totals,
)
from mmseg_uda.methods.cdda.similarity import image_similarity
from mmseg_uda.models.precision import exact_float32

BLOCK = 16
# Room for the rounding of the bounds; an entry is left out only if it is worse by more than this.
SLACK = 1e-5
AT_ONCE = 64


class PrunedSearch(BankSearch):
    """Compares each target with coarse histograms, then with the entries that may still win.

    Sums and norms of blocks of 16 bins (an eighth of the bank) stay in memory. They bound the
    similarity from above: blocks' L1 distance never exceeds that of their bins, and the dot
    product of two blocks never exceeds that of their norms. Entries are read and compared in
    descending order of the bound until no bound reaches the best total; in exact arithmetic the
    result is that of ``ResidentSearch``.

    Args:
        counts: (C, N, K) whole numbers; a memory map.
        min_class_pixels: As for ``image_similarity``.
    """

    def __init__(self, counts: np.ndarray, min_class_pixels: int = 1) -> None:
        self.counts = counts
        self.device = torch.device("cpu")
        self.min_class_pixels = min_class_pixels
        parts = [coarse(_tensor(row)[None]) for row in counts]
        self.bank = Factors(
            torch.cat([part.product for part in parts]),
            torch.cat([part.distance for part in parts]),
        )
        # The norm of a histogram is that of the norms of its blocks.
        self.norms = BankNorms(
            self.bank.distance.sum(-1), torch.linalg.vector_norm(self.bank.product, dim=-1)
        )
        #: Entries read in the last search, per target.
        self.read: list[int] = []

    def __call__(self, target: Tensor, floor: float = 0.0) -> Match:
        """See :meth:`BankSearch.__call__`."""
        with exact_float32(self.device), torch.no_grad():
            target = target.to(self.device, torch.float32)
            mine = target.transpose(0, 1).contiguous()
            bound = totals(self.bank, coarse(mine), self.norms, mine, self.min_class_pixels)
            self.read = []
            found = [self._best(b, t, floor) for b, t in zip(bound.t(), target, strict=True)]
        index, score, similarity, counts = (list(column) for column in zip(*found, strict=True))
        return Match(
            torch.tensor(index), torch.stack(score), torch.stack(similarity), torch.stack(counts)
        )

    def _best(
        self, bound: Tensor, target: Tensor, floor: float
    ) -> tuple[int, Tensor, Tensor, Tensor]:
        classes = int((target.sum(-1) >= max(self.min_class_pixels, 1)).sum())
        bounds, order = bound.sort(descending=True, stable=True)
        best: tuple[float, int] = (-1.0, 0)
        winner = None
        done = 0
        for first in range(0, len(order), AT_ONCE):
            limit = max(best[0], floor * classes) - SLACK
            if first and float(bounds[first]) < limit:
                break
            # Ascending: the first of equal totals has the lowest index.
            chosen = order[first : first + AT_ONCE].sort().values
            counts = _tensor(self.counts[:, chosen.numpy()]).transpose(0, 1)
            exact = image_similarity(counts, target, self.min_class_pixels)
            i = int(exact.total.argmax())
            value = (float(exact.total[i]), -int(chosen[i]))
            if winner is None or value > best:
                best = value
                winner = (int(chosen[i]), exact.score[i], exact.classes[i], counts[i])
            done += len(chosen)
        self.read.append(done)
        assert winner is not None, "a bank has at least one entry"
        return winner


def coarse(counts: Tensor) -> Factors:
    """Norms and sums of blocks of 16 bins, (..., K / 16), of counts (..., K)."""
    blocks = counts.unflatten(-1, (-1, BLOCK))
    return Factors(torch.linalg.vector_norm(blocks, dim=-1), blocks.sum(-1))


def _tensor(counts: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(counts, np.float32))
