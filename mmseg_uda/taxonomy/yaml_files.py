"""YAML files that come with the package or are the user's, found by name or by path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mmseg_uda.errors import UserError
from mmseg_uda.regular_files import read_text, require_file


def find_yaml(name_or_path: str | Path, folder: Path, what: str, names: Sequence[str]) -> Path:
    """Returns the file of a name, or of a path.

    Args:
        name_or_path: 'cityscapes19', or the path of the user's own file.
        folder: Holds the files that come with the package.
        what: Kind of file, for messages.
        names: Of the files in the folder.

    Raises:
        UserError: There is no such file.
    """
    text = str(name_or_path)
    path = folder / f"{text}.yaml"
    if text.endswith((".yaml", ".yml")) or "/" in text or not path.is_file():
        path = Path(text)
    fix = f"use one of {', '.join(names)}, or the path of a YAML file"
    require_file(path, f"No {what} '{text}'.", fix)
    return path


def read_yaml(path: Path) -> Any:
    """Returns the content of a YAML file.

    Raises:
        UserError: It cannot be read, or is no YAML.
    """
    try:
        return yaml.safe_load(read_text(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from error


def name_in(content: Mapping, path: Path) -> str:
    """Returns the text under ``name``, by default the stem of the file.

    Raises:
        UserError: It is something else.
    """
    name = content.get("name", path.stem)
    if isinstance(name, bool) or not isinstance(name, (str, int)) or not str(name).strip():
        raise UserError(f"{path}: name {name!r} is no text.", fix="Leave it out, or give a text.")
    return str(name)
