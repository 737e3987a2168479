"""Schedules of a training, which counts steps and validations and knows no epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def in_steps(schedules: Any) -> list[Any]:
    """Says of each schedule that it counts steps, where its config does not.

    mmengine takes it for one that counts epochs. Without an ``end`` of its own it would be over
    after the first step, and rates would stay where a warm-up begins.

    Args:
        schedules: Configs of one optimizer's schedules, or one alone; what is built stays as it is.
    """
    several = isinstance(schedules, (list, tuple))
    return [
        entry
        if not isinstance(entry, Mapping) or _counts_by_itself(entry)
        else {"by_epoch": False, **entry}
        for entry in (schedules if several else [schedules])
    ]


def _counts_by_itself(entry: Mapping[str, Any]) -> bool:
    """Of epochs that mmengine turns into steps, or of validations."""
    validations = str(entry.get("type")).startswith("ReduceOnPlateau")
    return validations or bool(entry.get("convert_to_iter_based"))
