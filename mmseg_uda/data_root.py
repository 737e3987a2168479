"""The folder that holds the data sets, where it is not ``data`` in the working directory."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

VARIABLE = "MMSEG_UDA_DATA_ROOT"


def add_data_root_option(parser: argparse._ActionsContainer) -> None:
    """Adds ``--data-root``, which :func:`use_data_root` obeys."""
    parser.add_argument(
        "--data-root", metavar="DIR", help=f"in place of ./data (also: ${VARIABLE})"
    )


def use_data_root(folder: str | None) -> None:
    """Sets the folder for this process and those that it starts; None or '' leaves it."""
    if folder:
        os.environ[VARIABLE] = os.path.abspath(folder)


def resolve_data_root(path: str) -> str:
    """Replaces a leading ``data/`` by the folder in the variable MMSEG_UDA_DATA_ROOT, if set."""
    root = os.environ.get(VARIABLE)
    parts = Path(path).parts
    if not root or Path(path).is_absolute() or parts[:1] != ("data",):
        return path
    return str(Path(root, *parts[1:]))
