"""How messages about many things are worded."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any

SHOWN = 8


def number_of(count: int, what: str) -> str:
    """Returns '1 job' or '3 jobs'."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def counted(some: Sized, all_of: Sized, what: str) -> str:
    """Returns 'all 6 labels' or '2 of 6 labels'."""
    if len(some) == len(all_of):
        return f"all {len(all_of)} {what}"
    return f"{len(some)} of {len(all_of)} {what}"


def listed(values: Sequence[Any]) -> str:
    """Returns '3, 5, 7' or '3, 5, 7, ... (40 in all)'."""
    text = ", ".join(map(str, values[:SHOWN]))
    return text if len(values) <= SHOWN else f"{text}, ... ({len(values)} in all)"
