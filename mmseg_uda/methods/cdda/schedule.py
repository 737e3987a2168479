"""The thresholds as a function of the step (CDDA; values of its code)."""

from __future__ import annotations


def decay_count(step: int, begin: int = 10000, end: int = 40000, interval: int = 1000) -> int:
    """How often the thresholds have been lowered by ``step``.

    They are lowered at every multiple of ``interval`` in [begin, end), before they are used in
    that step. With the published values: clip(floor(step / 1000) - 9, 0, 30).

    Args:
        step: Optimizer steps done.
        begin: Step from which they are lowered.
        end: Step from which they are not lowered any more.
        interval: Steps between two decrements.
    """
    first = -(-begin // interval)
    last = min(step, end - 1) // interval
    return max(0, last - first + 1)


def threshold(
    start: float,
    decay: float,
    step: int,
    begin: int = 10000,
    end: int = 40000,
    interval: int = 1000,
) -> float:
    """A threshold at ``step``: ``start - decay_count(...) * decay``; a score must exceed it."""
    return start - decay_count(step, begin, end, interval) * decay
