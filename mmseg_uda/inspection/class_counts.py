"""The number of classes of a network follows the taxonomy that its training data have."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmseg_uda.config_files import BASES, config_chain
from mmseg_uda.errors import UserError

from .network import config_taxonomy
from .shape import check_shape

KEY = "num_classes"


def following_classes(
    config: Mapping[str, Any], path: Path, options: Sequence[str] = ()
) -> dict[str, int]:
    """Returns which numbers of classes have to change for a config's data: dotted key -> number.

    The networks under ``configs/_base_`` are published for Cityscapes' 19 classes. A number that
    a file of the user's or an option gives is left alone; where it is wrong, the start of the
    training says so.

    Args:
        config: Resolved config.
        path: Its file.
        options: ``key=value`` options that are merged into it.
    """
    heads = dict(_numbers(config.get("model"), "model"))
    if not heads or any(KEY in option for option in options) or check_shape(config):
        return {}
    with suppress(UserError):  # of a taxonomy that cannot be read; whoever needs it says so
        found = config_taxonomy(config)
        if found is not None:
            other = {key: len(found) for key, number in heads.items() if number != len(found)}
            ours = other and not any(map(_gives_number, _own_files(path)))
            return other if ours else {}
    return {}


def _own_files(path: Path) -> Iterator[Path]:
    return (one for one in config_chain(path) if not one.resolve().is_relative_to(BASES))


def _gives_number(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    if KEY not in text or path.suffix != ".py":
        return KEY in text
    names = {ast.keyword: "arg", ast.Constant: "value", ast.Attribute: "attr"}
    nodes = ((node, names.get(type(node))) for node in ast.walk(ast.parse(text)))
    return any(name is not None and KEY in str(getattr(node, name)) for node, name in nodes)


def _numbers(item: Any, key: str) -> Iterator[tuple[str, Any]]:
    """The number of classes of every head, by its key."""
    if isinstance(item, (list, tuple)):
        for number, part in enumerate(item):
            yield from _numbers(part, f"{key}.{number}")
    if not isinstance(item, Mapping):
        return
    if "head" in key and KEY in item:
        yield f"{key}.{KEY}", item[KEY]
    for name, part in item.items():
        if name not in ("backbone", "neck"):
            yield from _numbers(part, f"{key}.{name}")
