"""Class names that a checkpoint carries, beside those that a config gives its predictions."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmseg_uda.errors import UserError


def stored_classes(meta: Mapping[str, Any]) -> tuple[tuple[str, ...], list[list[int]]]:
    """Returns names and colours in a checkpoint; mmseg 0.x, and the references, wrote upper case.

    Args:
        meta: Of the checkpoint.

    Returns:
        Both empty where it carries none.

    Raises:
        UserError: They are damaged.
    """
    stored = meta.get("dataset_meta")
    if stored is None:
        stored = {key.lower(): meta.get(key) for key in ("CLASSES", "PALETTE")}
    try:
        classes = tuple(stored.get("classes") or ())
        palette = [[int(value) for value in color] for color in stored.get("palette") or ()]
        if not all(isinstance(name, str) for name in classes):
            raise TypeError
        if palette and not (len(palette) == len(classes) and {len(c) for c in palette} == {3}):
            raise ValueError
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(
            "The class names and colours in the checkpoint (meta.dataset_meta) are damaged.",
            fix="Give its config (--config FILE), whose test_evaluator.taxonomy names them.",
        ) from error
    return classes, palette


def tell_other_classes(meta: Mapping[str, Any], names: Sequence[str], source: str | Path) -> None:
    """Warns where a checkpoint was trained for other classes, or for another order of them.

    Spelling does not count: 'traffic light' is 'trafficlight'.

    Args:
        meta: Of the checkpoint.
        names: That a config gives the predictions.
        source: The checkpoint, for the message.
    """
    try:
        trained, _ = stored_classes(meta)
    except UserError:  # its names are not needed
        return
    if len(trained) != len(names):
        return
    pairs = zip(trained, names, strict=True)
    other = [i for i, (then, now) in enumerate(pairs) if _plain(then) != _plain(now)]
    if other:
        first = other[0]
        print_log(
            f"{source} was trained for other classes than the config names ({len(other)} of "
            f"{len(names)}): class {first} is '{trained[first]}' in it and '{names[first]}' here. "
            "Labels and scores are wrong, unless they mean the same.\n  Fix: Give a config with "
            "the taxonomy of its training.",
            logger="current",
            level=logging.WARNING,
        )


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())
