"""Reads config files with readable errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from mmseg_uda.cfg_options import merge_options, parse_options
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
    except (SyntaxError, KeyError, TypeError, OSError, AttributeError) as error:
        raise UserError(f"The config {path} cannot be read: {error}") from error
    merge_options(cfg, parse_options(options), path)
    return cfg
