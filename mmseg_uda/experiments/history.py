"""What a job logged over its iterations, from its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

Points = Sequence[tuple[float, float]]

MAX_POINTS = 150
#: Scalars of pseudo-label quality that are worth a curve.
QUALITY = ("pseudo.confident", "pseudo.acc", "pseudo.acc_confident", "pseudo.mIoU")


def read_scalars(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Reads every number that a job's attempts logged.

    Where a resumed attempt repeats iterations, its numbers replace the earlier ones.

    Returns:
        (iteration, value) by name, in ascending order; numbers that are not finite are left out.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for file in sorted(folder.glob("*/vis_data/scalars.json")):
        attempt: dict[str, list[tuple[float, float]]] = {}
        first = math.inf
        for entry in _lines(file):
            step = entry.get("step", entry.get("iter"))
            if not isinstance(step, (int, float)):
                continue
            first = min(first, step)
            for name, value in entry.items():
                if isinstance(value, (int, float)) and math.isfinite(value):
                    attempt.setdefault(name, []).append((step, float(value)))
        for name, points in attempt.items():
            kept = [point for point in found.get(name, []) if point[0] < first]
            found[name] = kept + sorted(points)
    return found


def losses(scalars: Mapping[str, Points]) -> dict[str, Points]:
    """Returns the loss terms, thinned out."""
    return {name: thin(points) for name, points in scalars.items() if "loss" in name}


def quality(scalars: Mapping[str, Points]) -> dict[str, Points]:
    """Returns the quality of pseudo-labels in per cent, as far as it was measured."""
    return {
        name: thin([(x, y * 100 if name == "pseudo.confident" else y) for x, y in scalars[name]])
        for name in QUALITY
        if name in scalars
    }


def thin(points: Points, most: int = MAX_POINTS) -> list[tuple[float, float]]:
    """Averages neighbours until at most ``most`` points are left."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(len(points) / most)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    ]


def average(curves: Sequence[Points]) -> list[tuple[float, float]]:
    """Averages curves at the iterations that all of them have."""
    if not curves:
        return []
    tables = [dict(curve) for curve in curves]
    shared = set(tables[0]).intersection(*tables[1:])
    return [(x, sum(table[x] for table in tables) / len(tables)) for x in sorted(shared)]


def _lines(file: Path) -> list[dict]:
    entries = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue  # the last line of a training that was cut off
        if isinstance(entry, dict):
            entries.append(entry)
    return entries
