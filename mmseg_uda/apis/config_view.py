"""A resolved config, value by value: where each is from, and how two configs differ."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmseg import registry

from mmseg_uda.cfg_options import nearest
from mmseg_uda.config_files import CONFIGS, base_files, find_config, read_config
from mmseg_uda.errors import UserError
from mmseg_uda.foundation.registry import CROP_CLASSIFIERS, DETECTORS
from mmseg_uda.inspection import following_classes
from mmseg_uda.self_training.registry import COMPONENTS

# Where the class of a dict with a ``type`` is looked for.
REGISTRIES = (
    *(COMPONENTS, registry.MODELS, registry.DATASETS, registry.TRANSFORMS, registry.METRICS),
    *(registry.HOOKS, registry.LOOPS, registry.DATA_SAMPLERS, registry.OPTIM_WRAPPERS),
    *(registry.PARAM_SCHEDULERS, DETECTORS, CROP_CLASSIFIERS),
)
# Options of a trainer that the rest of the config gives it.
HANDED_OVER = ("seed", "max_iters", "execution")
BASE_VARIABLE = re.compile(r"\{\{\s*(_base_\.[\w.]+)\s*\}\}")


@dataclass(frozen=True)
class Setting:
    """One value of a config.

    Attributes:
        key: Dotted key; numbers are positions in lists.
        value: A scalar, or a list or tuple of scalars.
        origin: File that says it, below ``configs/`` if it is there, or 'default of CLASS'.
    """

    key: str
    value: Any
    origin: str

    @property
    def is_default(self) -> bool:
        """Whether no file says it."""
        return self.origin.startswith("default of ")

    def __str__(self) -> str:
        text = f"{self.key} = {self.value!r}"
        return f"{text:<72}  # {self.origin}" if self.origin else text


@dataclass(frozen=True)
class Difference:
    """A key whose value differs; None where a config has no such key."""

    key: str
    before: Setting | None
    after: Setting | None

    def __str__(self) -> str:
        sides = (("-", self.before), ("+", self.after))
        return "\n".join(f"{sign} {one}" for sign, one in sides if one is not None)


def explain_config(
    config: str | Path, key: str = "", other: str | Path | None = None
) -> list[Setting] | list[Difference]:
    """Returns the values of a config with their origins, or what another config has instead.

    Defaults of the trainer and its components are among them.

    Args:
        config: Config file, with or without ``.py``, also below ``configs/``.
        key: Only what lies at or below this dotted key.
        other: Config file to compare with. A value that equals a default is no difference.

    Raises:
        UserError: A file is missing or cannot be read, or has nothing under ``key``.
    """
    settings = _below(key, _settings(config), config)
    if other is None:
        return list(settings.values())
    theirs = {k: one for k, one in _settings(other).items() if k in settings or _is_below(k, key)}
    keys = sorted({**settings, **theirs}, key=_order)
    pairs = ((k, settings.get(k), theirs.get(k)) for k in keys)
    return [Difference(k, a, b) for k, a, b in pairs if not a or not b or a.value != b.value]


def defaults_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a dict's ``type`` that it does not give, with their defaults."""
    cls = class_of(config)
    if cls is None:
        return {}
    parameters = inspect.signature(cls).parameters.values()
    missing = (p for p in parameters if p.default is not p.empty and p.name not in config)
    return {p.name: p.default for p in missing}


def class_of(config: Mapping[str, Any]) -> type | None:
    """Returns the registered class of a dict's ``type``, None if there is none."""
    name = config.get("type")
    if not isinstance(name, str):
        return None
    return next((cls for one in REGISTRIES if (cls := one.get(name)) is not None), None)


def _settings(path: str | Path) -> dict[str, Setting]:
    file = find_config(path)
    read = read_config(file)
    config = read.to_dict()
    found = dict(_flatten(config, _origins(file)))
    for key, number in following_classes(read, file).items():
        found[key] = Setting(key, number, "number of classes of the taxonomy")
    for key, part in _components(config):
        for name, value in defaults_of(part).items():
            if name not in HANDED_OVER:
                full = f"{key}.{name}"
                found[full] = Setting(full, value, f"default of {part['type']}")
    return dict(sorted(found.items(), key=lambda item: _order(item[0])))


def _components(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The trainer and its components, by their keys."""
    uda = config.get("uda")
    if isinstance(uda, Mapping):
        yield "uda", uda
        parts = ((role, part) for role, part in uda.items() if isinstance(part, Mapping))
        yield from ((f"uda.{role}", part) for role, part in parts if "type" in part)


def _order(key: str) -> list[tuple[int, str]]:
    """Numbers in a key sort as numbers, and a dict's ``type`` comes first."""
    return [
        (int(part), "") if part.isdecimal() else (0, "" if part == "type" else part)
        for part in key.split(".")
    ]


def _flatten(value: Any, origin: Any, key: str = "") -> Iterator[tuple[str, Setting]]:
    """Leaves of a config beside those of a tree of origins of the same shape."""
    nested = isinstance(value, Mapping) or (
        isinstance(value, (list, tuple)) and any(isinstance(one, Mapping) for one in value)
    )
    if not nested or not value:
        while isinstance(origin, (list, tuple)) and origin:
            origin = origin[0]
        yield key, Setting(key, value, origin if isinstance(origin, str) else "")
        return
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for name, inner in items:
        yield from _flatten(inner, origin[name], f"{key}.{name}" if key else str(name))


class _Origin(str):
    """The name of the file that says a value, in the value's place."""


def _origins(path: Path) -> ConfigDict:
    """The config with the name of a file in place of every value.

    A file's statements run a second time, on bases whose values are such names: what arrives in
    the result is the base's, everything else the file's own.
    """
    path = path.resolve()
    name = str(path.relative_to(CONFIGS) if path.is_relative_to(CONFIGS) else path)
    bases = ConfigDict()
    for base in base_files(path):
        bases.update(_origins(base))
    try:
        own = _run(path, bases)
    except Exception:  # it calculates with values of its bases, or is no Python
        own = read_config(path, with_modules=False)._cfg_dict
    return Config._merge_a_into_b(ConfigDict(_mark(own, _Origin(name))), bases)


def _run(path: Path, bases: ConfigDict) -> dict[str, Any]:
    text = BASE_VARIABLE.sub(r"\1", path.read_text(encoding="utf-8"))
    tree = ast.parse(text)
    tree.body = [one for one in tree.body if not ast.unparse(one).startswith("_base_ =")]
    names: dict[str, Any] = {"_base_": bases}
    exec(compile(tree, str(path), "exec"), names)
    own = {key: value for key, value in names.items() if not key.startswith("__")}
    return {k: v for k, v in own.items() if k != "_base_" and not inspect.isroutine(v)}


def _mark(value: Any, origin: _Origin) -> Any:
    if isinstance(value, Mapping):
        return {key: _mark(one, origin) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mark(one, origin) for one in value]
    return value if isinstance(value, _Origin) else origin


def _is_below(key: str, top: str) -> bool:
    return not top or key == top or key.startswith(f"{top}.")


def _below(top: str, settings: Mapping[str, Setting], config: str | Path) -> dict[str, Setting]:
    found = {key: one for key, one in settings.items() if _is_below(key, top)}
    if found:
        return found
    keys = {".".join(key.split(".")[:n]) for key in settings for n in range(1, key.count(".") + 2)}
    raise UserError(f"The config {config} has nothing under {top}.", fix=nearest(top, sorted(keys)))
