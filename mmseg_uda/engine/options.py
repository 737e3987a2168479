"""Checks a config's keys against the class that they configure."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from mmseg_uda.cfg_options import nearest
from mmseg_uda.errors import UserError


def check_options(cls: type, config: Mapping[str, Any], where: str) -> None:
    """Raise unless every key of ``config`` is an argument of ``cls``.

    Args:
        cls: Class to be built.
        config: Its config; ``type`` is left out of the check.
        where: Place of the config, e.g. ``uda.masking``.

    Raises:
        UserError: Names the unknown key and the nearest known one.
    """
    parameters = inspect.signature(cls).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for key in config:
        if key != "type" and key not in parameters:
            raise UserError(
                f"{where}.{key} is no option of {cls.__name__}.",
                f"{nearest(key, parameters, where)}Known: {', '.join(parameters)}.",
            )


def check_choice(where: str, value: str, choices: Iterable[str]) -> None:
    """Raise unless ``value`` is one of the choices.

    Raises:
        UserError: Names the option and the choices.
    """
    if value not in choices:
        raise UserError(f"{where}={value!r} is unknown.", f"Use one of: {', '.join(choices)}.")
