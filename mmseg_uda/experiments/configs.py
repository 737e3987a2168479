"""From a row of a table to the config of its jobs, and to the text of a config."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mmseg_uda.cfg_options import DELETE, merge_options
from mmseg_uda.config_files import BASES, ROOT, find_config, read_config
from mmseg_uda.errors import UserError
from mmseg_uda.inspection import following_classes
from mmseg_uda.released import refuse_released


@dataclass(frozen=True)
class Base:
    """A value that a base file has under a name; it replaces what a row's config has.

    A config writes ``model = _base_.model`` with the file among its bases.

    Attributes:
        file: Below ``configs/_base_``, without ``.py``: 'networks/dlv2red_r101v1c'.
        name: 'model', 'source_gta', 'mic', ...
    """

    file: str
    name: str


def plain_config(path: Any) -> dict[str, Any]:
    """Returns a config file with its bases as plain dicts, without importing its modules.

    Raises:
        UserError: When the file cannot be read as a config of this project.
    """
    found = find_config(path)
    # Rows share files, and those of this project do not change under a running command.
    whole = found.resolve()
    shipped = whole.is_relative_to(BASES.parent)
    return deepcopy(_shipped_config(whole)) if shipped else _read_config(found, path)


def _read_config(found: Path, path: Any) -> dict[str, Any]:
    config = read_config(found, with_modules=False)
    refuse_released(config, path)
    config.merge_from_dict(following_classes(config, found))
    return config.to_dict()


@cache
def _shipped_config(path: Path) -> dict[str, Any]:
    return _read_config(path, path)


def change(
    config: Mapping[str, Any], changes: Mapping[str, Any], path: object, who: str
) -> dict[str, Any]:
    """Returns a config with values changed.

    Args:
        config: Resolved config.
        changes: Values by dotted key: {'uda.masking.mask_ratio': 0.5}. A dict is merged into the
            config's, a ``Base`` replaces it, None switches a component off. A number in a key is
            a position in a list.
        path: The config, for messages.
        who: Who changes it, for messages.

    Raises:
        UserError: A change does not fit the config, or a base file has no such name.
    """
    from mmengine.config import Config

    changed = Config(dict(config))
    values = {k: base_value(v) if isinstance(v, Base) else v for k, v in changes.items()}
    merge_options(changed, values, path, who)
    return changed.to_dict()


def base_value(base: Base) -> Any:
    """Returns what a base file has under a name, marked to replace what is there.

    Raises:
        UserError: There is no such file, or it has no such name.
    """
    path = find_config(BASES / base.file)
    names = _shipped_names(path)
    if base.name not in names:
        raise UserError(f"{path} has no '{base.name}'.", fix=f"It has {', '.join(names)}.")
    value = deepcopy(names[base.name])
    return {**value, DELETE: True} if isinstance(value, dict) else value


@cache
def _shipped_names(path: Path) -> dict[str, Any]:
    """Everything that a base file has, with its own bases."""
    from mmengine.config import Config

    return Config.fromfile(str(path), import_custom_modules=False).to_dict()


def origin(config: str | Path, changes: Mapping[str, Any]) -> Iterator[str]:
    """Yields lines that say which file is changed, and how; see :func:`change`."""
    path = find_config(config)
    name = str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
    yield f"{name} with" if changes else name
    for key, value in changes.items():
        if isinstance(value, Base):
            yield f"  {key} = _base_.{value.name}  # {value.file}.py"
        else:
            yield f"  {key} = {literal(value)}"


def render(config: Mapping[str, Any], header: str = "") -> str:
    """Returns a config as Python text, keeping tuples and numbers exact."""
    lines = [f"# {line}" for line in header.splitlines()]
    lines += [f"{key} = {literal(value)}" for key, value in config.items()]
    return "\n".join(lines) + "\n"


def literal(value: Any, indent: int = 0, width: int = 96) -> str:
    """Returns a value as a Python expression in the style of config files."""
    inner, closing = " " * (indent + 4), " " * indent
    if isinstance(value, Mapping):
        plain = all(isinstance(k, str) and re.fullmatch(r"[A-Za-z_]\w*", k) for k in value)
        items = [
            f"{k}={literal(v, indent + 4)}" if plain else f"{k!r}: {literal(v, indent + 4)}"
            for k, v in value.items()
        ]
        before, after = ("dict(", ")") if plain else ("{", "}")
    elif isinstance(value, (list, tuple)):
        items = [literal(v, indent + 4) for v in value]
        before, after = ("[", "]") if isinstance(value, list) else ("(", ")")
        if isinstance(value, tuple) and len(items) == 1:
            after = ",)"
    elif isinstance(value, float) and value in (float("inf"), float("-inf")):
        return f"float('{value}')"
    else:
        return repr(value)
    short = before + ", ".join(items) + after
    if len(short) + indent <= width and "\n" not in short:
        return short
    body = "".join(f"{inner}{item},\n" for item in items)
    return f"{before}\n{body}{closing}{after.lstrip(',')}"
