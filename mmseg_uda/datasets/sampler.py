"""The endless sampler of ``DomainPairDataset``."""

from __future__ import annotations

from collections.abc import Iterator, Sized

from mmengine.dist import get_dist_info, sync_random_seed
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Sampler


@DATA_SAMPLERS.register_module()
class PairSampler(Sampler):
    """Yields (seed, position) for ever; the data set derives the sample from both.

    Positions are dealt to the ranks in turn. Memory and the cost of a resume are O(1).

    Args:
        dataset: Only its length is used.
        seed: The same on every rank; None agrees on a random one. The Runner passes its own.
        shuffle: False makes the data set count through source and target in order.
    """

    def __init__(self, dataset: Sized, seed: int | None = None, shuffle: bool = True) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.seed = sync_random_seed() if seed is None else seed
        self.shuffle = shuffle
        self._start = 0

    def __iter__(self) -> Iterator[tuple[int | None, int]]:
        seed = self.seed if self.shuffle else None
        index = self._start
        while True:
            yield seed, index * self.world_size + self.rank
            index += 1

    def skip(self, num_samples: int) -> None:
        """Starts the next iteration after this many samples of this rank (mmengine's contract).

        The number counts from the beginning of the stream, not from the current position.
        """
        if num_samples < 0:
            raise ValueError(f"num_samples has to be at least 0, got {num_samples}")
        self._start = num_samples

    def set_epoch(self, epoch: int) -> None:
        """Does nothing: the stream has no epochs."""

    def __len__(self) -> int:
        return len(self.dataset)
