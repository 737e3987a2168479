"""Options of decode heads that would have no effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg_uda.cfg_options import nearest
from mmseg_uda.errors import UserError

SELECT = "multiple_select"


def multiple_select(options: dict[str, Any], head: str) -> dict[str, Any]:
    """The options of a head that takes its levels as they are, whatever their sizes.

    Args:
        options: mmseg's decode head options; ``input_transform`` may be left out.
        head: Name for messages.

    Raises:
        UserError: Another transform of the inputs is asked for.
    """
    asked = options.get("input_transform", SELECT)
    if asked != SELECT:
        raise UserError(
            f"{head}: input_transform={asked!r} has no effect.", fix=f"Leave it out: {SELECT!r}"
        )
    return {**options, "input_transform": SELECT}


def check_keys(options: dict[str, Any], known: Sequence[str], where: str) -> None:
    """Raises unless every key of a head's options is known.

    Raises:
        UserError: Names the unknown key and the nearest known one.
    """
    for key in options:
        if key not in known:
            raise UserError(
                f"{where}.{key} is no option.",
                fix=f"{nearest(key, known, where)}Known: {', '.join(known)}.",
            )


def fixed_layers(options: dict[str, Any], head: str) -> dict[str, Any]:
    """The options of a head whose last layers are VFM-UDA's: no dropout, weights from N(0, 0.1).

    Args:
        options: mmseg's decode head options.
        head: Name for messages.

    Raises:
        UserError: Dropout is asked for.
    """
    if options.get("dropout_ratio"):
        raise UserError(
            f"{head}: dropout_ratio={options['dropout_ratio']} has no effect.", fix="Leave it out."
        )
    start = {"type": "Normal", "std": 0.1, "override": {"name": "conv_seg"}}
    defaults = {"loss_decode": {"type": "PixelCrossEntropy"}, "init_cfg": start}
    return {**defaults, **options, "dropout_ratio": 0}
