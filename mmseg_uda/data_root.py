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
    if not root or not below_data(path):
        return path
    return str(Path(root, *Path(path).parts[1:]))


def below_data(path: str) -> bool:
    """Whether a path leads into ``data`` of the working directory, which may lie elsewhere."""
    return Path(path).parts[:1] == ("data",)
