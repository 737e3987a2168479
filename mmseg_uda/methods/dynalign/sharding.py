"""Which share of the images a process works on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypeVar

from mmseg_uda.errors import UserError

T = TypeVar("T")


def shard(items: Sequence[T], rank: int, world: int) -> list[T]:
    """Every ``world``-th item from ``rank`` on, so that slow and fast ones mix.

    Raises:
        UserError: ``rank`` is not in ``0..world - 1``.
    """
    if world < 1 or not 0 <= rank < world:
        raise UserError(
            f"There is no share {rank} of {world}.",
            fix="Shares count from 0 to the world size - 1.",
        )
    return list(items[rank::world])


def fold(items: Sequence[T], index: int, folds: int) -> list[T]:
    """The ``index``-th (from 1) of ``folds`` contiguous parts of ceil(N / folds) items.

    The last parts may be empty.

    Raises:
        UserError: ``index`` is not in ``1..folds``.
    """
    if folds < 1 or not 1 <= index <= folds:
        raise UserError(
            f"There is no part {index} of {folds}.",
            fix="Parts count from 1 to the number of folds.",
        )
    size = -(-len(items) // folds)
    return list(items[(index - 1) * size : index * size])


def place(
    rank: int | None = None, world: int | None = None, environment: Mapping[str, str] | None = None
) -> tuple[int, int, int]:
    """Rank, world size and local rank: explicit ones, else those that torchrun sets, else alone.

    Args:
        rank: Explicit share, or None.
        world: Explicit number of shares, or None.
        environment: None takes the process's.

    Raises:
        UserError: Only one of rank and world size is given.
    """
    env = os.environ if environment is None else environment
    if (rank is None) != (world is None):
        raise UserError("--rank and --world-size belong together.", fix="Give both or neither.")
    if rank is None or world is None:
        rank, world = int(env.get("RANK", 0)), int(env.get("WORLD_SIZE", 1))
    # Shares that are started by hand on one machine take its GPUs in turn.
    return rank, world, int(env.get("LOCAL_RANK", rank))
