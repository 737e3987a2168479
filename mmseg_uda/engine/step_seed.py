"""Random numbers of a step as a function of (seed, process, step) alone.

Nothing has to be stored to resume, and neither validation nor the data loader can shift them.
"""

from __future__ import annotations

import numpy as np
import torch


def seed_step(seed: int, rank: int, step: int, part: int = 0) -> int:
    """Seeds torch's global generators (dropout, drop path) for one batch.

    Args:
        seed: Seed of the run.
        rank: Number of the process; processes draw different numbers.
        step: Completed optimizer steps.
        part: Number of the batch in the step, where gradients of several accumulate.

    Returns:
        A seed for a generator of the caller's own.
    """
    # Without the part where it is 0: the numbers of a run without accumulation.
    words = [seed, rank, step, part] if part else [seed, rank, step]
    state = np.random.SeedSequence(words).generate_state(2, np.uint64) >> np.uint64(1)
    own, shared = (int(word) for word in state)
    torch.manual_seed(shared)
    return own
