"""YAML files that come with the package or are the user's, found by name or by path."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mmseg_uda.errors import UserError
from mmseg_uda.regular_files import read_text, require_file

# The largest map here has 30 000 characters. Few lines of aliases to aliases make billions of
# values, which any message about them would write out.
MOST_CHARACTERS = 1_000_000
MOST_VALUES = 100_000


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
    fix = f"Use one of {', '.join(names)}, or the path of a YAML file."
    require_file(path, f"No {what} '{text}'.", fix)
    return path


def read_yaml(path: Path) -> Any:
    """Returns the content of a YAML file.

    Raises:
        UserError: It cannot be read, is no YAML, or stands for more than anybody has written.
    """
    text = read_text(path)
    if len(text) > MOST_CHARACTERS:
        raise UserError(f"{path} is no file of classes: it has {len(text)} characters.")
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _values(node, {}) > MOST_VALUES:
            raise UserError(
                f"{path} cannot be read: its aliases (*name) stand for more than {MOST_VALUES} "
                "values.",
                fix="Write out what they stand for.",
            )
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from error


def _values(node: yaml.Node, known: dict[int, float]) -> float:
    """Counts the values below a node, each alias as what it stands for; itself inside is no end."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = math.inf
        pairs = isinstance(node, yaml.MappingNode)
        items = [part for pair in node.value for part in pair] if pairs else node.value
        known[id(node)] = 1 + sum(_values(item, known) for item in items)
    return known[id(node)]


def name_in(content: Mapping, path: Path) -> str:
    """Returns the text under ``name``, by default the stem of the file.

    Raises:
        UserError: It is something else.
    """
    name = content.get("name", path.stem)
    if isinstance(name, bool) or not isinstance(name, (str, int)) or not str(name).strip():
        raise UserError(f"{path}: name {name!r} is no text.", fix="Leave it out, or give a text.")
    return str(name)
