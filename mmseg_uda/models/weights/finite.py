"""Finds weights and statistics that are no numbers any more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmseg_uda.errors import UserError

NAMED = 3


def require_finite(tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Refuses a file's weights if they are NaN or infinite.

    Args:
        tensors: Those that are to be used, by name.
        source: Where they came from, for the message.

    Raises:
        UserError: Names the first tensors and says how many there are.
    """
    names = non_finite(tensors)
    if not names:
        return
    first = tensors[names[0]]
    bad = int((~torch.isfinite(first)).sum())
    raise UserError(
        f"{source} holds values that are NaN or infinite, in {len(names)} of {len(tensors)} "
        f"tensors: {listed(names)}. In {names[0]} it is {bad} of {first.numel()}.",
        fix="Use an earlier checkpoint, or weights from elsewhere: predictions of these are "
        "meaningless.",
    )


def tensors_in(content: Any, name: str = "", _seen: set[int] | None = None) -> dict[str, Tensor]:
    """All tensors of nested containers, named by their keys joined with dots.

    A container that is there several times, or within itself, counts once.
    """
    if isinstance(content, Tensor):
        return {name: content}
    seen = set() if _seen is None else _seen
    if id(content) in seen:
        return {}
    if isinstance(content, (Mapping, list, tuple)):
        seen.add(id(content))
    if isinstance(content, Mapping):
        items = list(content.items())
    else:
        items = list(enumerate(content)) if isinstance(content, (list, tuple)) else []
    found: dict[str, Tensor] = {}
    for key, value in items:
        found |= tensors_in(value, f"{name}.{key}" if name else str(key), seen)
    return found


@torch.no_grad()
def non_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that hold NaN or infinity, in order.

    Attention masks, which are made of 0 and minus infinity, are none of them. Waits for the device.
    """
    floats = {name: value for name, value in tensors.items() if value.is_floating_point()}
    suspicious: list[str] = []
    by_kind: dict[tuple[torch.device, torch.dtype], list[str]] = {}
    for name, value in floats.items():
        if value.numel():
            by_kind.setdefault((value.device, value.dtype), []).append(name)
    for names in by_kind.values():
        # The norm is finite where all numbers are, but for those whose squares are too large.
        norms = torch.stack(torch._foreach_norm([floats[name] for name in names]))
        found = torch.isfinite(norms).tolist()
        suspicious += [name for name, fine in zip(names, found, strict=True) if not fine]
    bad = {name for name in suspicious if bool(is_bad(floats[name]))}
    return [name for name in floats if name in bad]


def is_bad(value: Tensor) -> Tensor:
    """() bool on the device: whether a tensor holds NaN or infinity, unless it is a mask."""
    bad = ~torch.isfinite(value).all()
    if value.dim() < 2:
        return bad
    return bad & ~((value == 0) | (value == -torch.inf)).all()


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
