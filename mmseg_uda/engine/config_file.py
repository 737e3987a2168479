"""Reads config files with readable errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from mmseg_uda.errors import UserError


def load_config(path: str | Path, options: Sequence[str] = ()) -> Config:
    """Load a config file and apply ``key=value`` options.

    Args:
        path: Python config file.
        options: As on the command line: ``uda.masking.mask_ratio=0.5``.

    Raises:
        UserError: If the file is missing or cannot be parsed, or an option is no key=value or
            does not fit the config.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"There is no config {path}.", "Configs are under configs/; check the path."
        )
    try:
        cfg = Config.fromfile(path)
    except (SyntaxError, KeyError, TypeError, FileNotFoundError, AttributeError) as error:
        raise UserError(f"The config {path} cannot be read: {error}") from error
    values = parse_options(options, "--cfg-options", "uda.masking.mask_ratio=0.5")
    try:
        cfg.merge_from_dict(values)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise UserError(f"--cfg-options does not fit the config {path}: {error}") from error
    return cfg


def parse_options(options: Sequence[str], flag: str, example: str) -> dict[str, Any]:
    """``KEY=VALUE`` texts as values: numbers, booleans, None, lists, else texts.

    Args:
        options: As on the command line.
        flag: Its option, for messages.
        example: One that is right.

    Raises:
        UserError: A text has another form.
    """
    values = {}
    for option in options:
        key, found, value = option.partition("=")
        if not found or not key:
            raise UserError(
                f"{flag} {option!r} is no KEY=VALUE.", f"Write for example {example} (no spaces)."
            )
        values[key] = DictAction._parse_iterable(value)
    return values
