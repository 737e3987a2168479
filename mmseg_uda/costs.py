"""What the published tables cost in GPU hours and memory, from the stored forecast.

``costs.json`` holds what ``tools/benchmark.py table`` has counted, by kind of row.
Reading it needs no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from mmseg_uda.calling import as_called

FILE = Path(__file__).with_name("costs.json")
#: Components that a forecast leaves out, and what it lacks without them.
UNCOUNTED = {"relabel": "vision-language models", "depth": "the bank's search"}
#: The GPU whose hours are told; half to twice of them are to be expected.
GPU = "RTX 3090"
GIB = 2**30


def kind(config: Mapping[str, Any]) -> str | None:
    """What decides a training's cost, as a digest; None if the config is no training.

    Args:
        config: Resolved config.
    """
    parts = [config.get(key) or {} for key in ("model", "train_dataloader", "uda", "train_cfg")]
    if not all(isinstance(part, Mapping) for part in parts) or not all(parts[:2]):
        return None
    model, loader, uda, schedule = (deepcopy(dict(part)) for part in parts)
    for part in model.values():
        if isinstance(part, dict):
            part.pop("init_cfg", None)
    for role in (*UNCOUNTED, "source_checkpoint", "seed"):
        uda.pop(role, None)
    decisive = {
        "model": model,
        "uda": {key: value for key, value in uda.items() if value is not None},
        "optimizer": config.get("optim_wrapper"),
        "execution": config.get("execution"),
        "images": loader.get("batch_size"),
        "steps": schedule.get("max_iters"),
    }
    text = json.dumps(decisive, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def uncounted(config: Mapping[str, Any]) -> list[str]:
    """What a forecast of the config lacks."""
    uda = config.get("uda") or {}
    return [lacks for role, lacks in UNCOUNTED.items() if uda.get(role) is not None]


@cache
def stored() -> dict[str, dict[str, Any]]:
    """The stored forecasts by kind."""
    return json.loads(FILE.read_text()) if FILE.is_file() else {}


def cost_lines(configs: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """One line per kind of row whose forecast is stored.

    Args:
        configs: Label of its row and resolved config of every job.
    """
    groups: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for label, config in configs:
        key = kind(config)
        if key is not None and key in stored():
            groups.setdefault(key, []).append((label, config))
    lines, total = [], 0.0
    for key, members in groups.items():
        cost = stored()[key]
        labels = ", ".join(dict.fromkeys(label for label, _ in members))
        lacks = dict.fromkeys(lack for _, config in members for lack in uncounted(config))
        hours = cost["hours"][GPU]
        total += hours * len(members)
        lines.append(
            f"Forecast for {labels}: {cost['peak'] / GIB:.1f} GiB, about {hours:.0f} hours on an "
            f"{GPU}{f' for each of {len(members)} jobs' if len(members) > 1 else ''}"
            + (f", without {' and '.join(lacks)}" if lacks else "")
        )
    if lines:
        in_all = f"{total:.0f} hours in all; " if sum(map(len, groups.values())) > 1 else ""
        more = f"  ({in_all}half to twice the hours; docs/memory_and_speed.md has other GPUs)"
        lines.append(as_called(more))
    return lines
