"""The config that a checkpoint carries: data, from which only registered types are built.

mmengine's registries import what they do not know: ``type='os.system'`` finds a function,
``type='package.Name'`` imports ``package.registry``. That is meant for config files, which are
code; a checkpoint may come from anywhere.
"""

from __future__ import annotations

import importlib
import inspect
import keyword
import logging
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import Registry
from mmseg.registry import MODELS, TASK_UTILS, TRANSFORMS

from mmseg_uda.engine.deployed import deployed_model, deployed_pipeline, stored_config
from mmseg_uda.errors import UserError
from mmseg_uda.models.adapters import ADAPTERS
from mmseg_uda.models.heads.layers import LAYERS
from mmseg_uda.models.weights import meta_of

# What only says where weights and images are fetched from; the checkpoint brings every weight.
FETCHES = ("init_cfg", "pretrained", "checkpoint_path", "backend_args", "file_client_args")
# The decoder's layers have their own table of types.
LAYER_KEYS = ("embed_cfg", "embed_neck_cfg", "fusion_cfg")
# So have adapters.
TABLES: dict[str, Mapping[str, Any]] = {**dict.fromkeys(LAYER_KEYS, LAYERS), "adapter": ADAPTERS}
# Packages whose registries may be imported by a type's or a config's scope.
KNOWN_PACKAGES = ("mmengine", "mmcv", "mmseg", "mmseg_uda")
OUR_IMPORTS = ("mmseg_uda.register_all",)
FIX = (
    "A checkpoint is data, so its config may name registered types only. Give the config file "
    "itself (--config FILE); its custom_imports name the modules with your classes."
)

_NAME = re.compile(r"(?!__)[\w.\- ]*")
_PLACE = re.compile(
    r"[/\\]|^[\w+.-]+:|^~"  # a path, or an address such as hf-hub:name
    r"|^(pickle|pkl)$"  # how transforms and losses are told to unpickle
    r"|\.(pkl|pickle|np[yz]|pth?|bin|ckpt|safetensors|json|ya?ml|py|txt|zip|tar)$",
    re.IGNORECASE,
)
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_imports_nothing: ContextVar[bool] = ContextVar("imports_nothing", default=False)


@contextmanager
def registered_types_only() -> Iterator[None]:
    """Within it, this thread's registries build what is registered, and import nothing."""
    token = _imports_nothing.set(True)
    try:
        yield
    finally:
        _imports_nothing.reset(token)


def carried_config(checkpoint: Mapping[str, Any], source: str | Path) -> Config | None:
    """Returns what inference needs of the config in a checkpoint; None where it carries none.

    Args:
        checkpoint: As ``read_checkpoint`` returns.
        source: Where it came from, for messages.

    Returns:
        Network, test pipeline and taxonomies, every ``type`` of which is registered. What names
        files and addresses to fetch weights from is left out, and so are imports: a warning names
        them. Build it within :func:`registered_types_only`.

    Raises:
        UserError: The config cannot be read, or names something that is not registered.
    """
    cfg = stored_config(checkpoint, source)
    if cfg is None or "model" not in cfg:
        return None
    taxonomy = meta_of(checkpoint).get("taxonomy_file")
    if taxonomy is not None:  # beside a published config
        cfg.test_evaluator = {"type": "StreamingIoU", "taxonomy": taxonomy}
    tell_imports(cfg.pop("custom_imports", None), source)
    try:
        with registered_types_only():
            return _checked_config(cfg)
    except _Refused as error:
        raise UserError(f"{source} carries a config whose {error}.", fix=FIX) from error
    except UserError:
        raise
    except Exception as error:
        raise _unusable(source, error) from error


@contextmanager
def building_from(source: str | Path) -> Iterator[None]:
    """:func:`registered_types_only`; whatever odd values of a carried config raise is one message.

    Args:
        source: The checkpoint, for messages.

    Raises:
        UserError: In place of another exception.
    """
    try:
        with registered_types_only():
            yield
    except UserError:
        raise
    except Exception as error:
        raise _unusable(source, error) from error


def _unusable(source: str | Path, error: Exception) -> UserError:
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return UserError(f"{source} carries a config that cannot be used: {reason}", fix=FIX)


class _Refused(Exception):
    """A place in a config and what is wrong with it."""


def _checked_config(cfg: Config) -> Config:
    network = _checked(deployed_model(cfg).to_dict(), "model", (MODELS, TASK_UTILS))
    result: dict[str, Any] = {"default_scope": "mmseg", "model": network}
    with suppress(UserError):  # whoever needs a pipeline tells that there is none
        steps = Config({"steps": deployed_pipeline(cfg)}).to_dict()["steps"]
        result["test_pipeline"] = _checked(steps, "test_pipeline", (TRANSFORMS,))
    if "crop_size" in cfg:
        result["crop_size"] = _checked(cfg.crop_size, "crop_size", ())
    for stage in ("test", "val"):
        evaluator = cfg.get(f"{stage}_evaluator")
        dataset = (cfg.get(f"{stage}_dataloader") or {}).get("dataset")
        result[f"{stage}_evaluator"] = _taxonomy_of(evaluator)
        result[f"{stage}_dataloader"] = {"dataset": _taxonomy_of(dataset)}
    return Config(result)


def checked_model(model: Mapping[str, Any], source: str | Path) -> dict[str, Any]:
    """A network's config from a file that is data, without what fetches.

    Args:
        model: Plain values.
        source: The file, for messages.

    Raises:
        UserError: It names something that is not registered.
    """
    try:
        with registered_types_only():
            return _checked(model, "model", (MODELS, TASK_UTILS))
    except _Refused as error:
        raise UserError(
            f"{source} is a config whose {error}.",
            fix="JSON is data, so it may name registered types only; give a config of this "
            "project.",
        ) from error


def _taxonomy_of(config: Any) -> dict[str, str]:
    """What names the label space of a metric or a data set; it is read, never built."""
    kept = {}
    if isinstance(config, Mapping):
        kept = {key: config[key] for key in ("type", "taxonomy") if key in config}
    return {key: value for key, value in kept.items() if isinstance(value, str)}


def _checked(value: Any, place: str, registries: Sequence[Registry]) -> Any:
    """A copy of a value without what fetches.

    Raises:
        _Refused: Something in it is neither a plain value nor a registered type.
    """
    if isinstance(value, Mapping):
        for key in value:
            named = isinstance(key, str) and _NAME.fullmatch(key)
            if not named or keyword.iskeyword(key):
                raise _Refused(f"{place} has the key {_shown(key)}")
        kept = {}
        if "type" in value:
            kept["type"] = value["type"]
            if _fetches_by_default(_checked_type(value["type"], place, registries)):
                kept["pretrained"] = False
        return kept | {
            key: _checked(entry, f"{place}.{key}", registries)
            for key, entry in value.items()
            if key not in FETCHES and key != "type"
        }
    if isinstance(value, (list, tuple)):
        items = [_checked(item, f"{place}[{i}]", registries) for i, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, str):
        key = place.rpartition(".")[2]
        if "{{" in value or _PLACE.search(value) or _is_code(value):
            raise _Refused(f"{place} is {_shown(value)}: a file, an address or a name of code")
        if key == "_scope_" and value not in KNOWN_PACKAGES:
            raise _Refused(f"{place} is {_shown(value)}, which is no known scope")
        return value
    plain = value is None or isinstance(value, (bool, int, float))
    if not plain or (isinstance(value, float) and not math.isfinite(value)):
        raise _Refused(f"{place} is {_shown(value)}")
    return value


def _checked_type(kind: Any, place: str, registries: Sequence[Registry]) -> Any:
    table = TABLES.get(place.rpartition(".")[2], {})
    if kind in table:
        return table[kind]
    found = None
    if isinstance(kind, str):
        found = next((c for r in registries if (c := r.get(kind)) is not None), None)
    if found is None:
        raise _Refused(f"{place}.type is {_shown(kind)}, which is not registered")
    return found


def _fetches_by_default(kind: Any) -> bool:
    """Whether a network gets weights from elsewhere unless it is told not to."""
    try:
        option = inspect.signature(kind).parameters.get("pretrained")
    except (TypeError, ValueError):
        return False
    return option is not None and option.default is True


def _is_code(value: str) -> bool:
    """Whether a string reads like something to import, as ``os.system``."""
    if not _DOTTED.fullmatch(value):
        return False
    package = value.partition(".")[0]
    return package in sys.modules or find_spec(package) is not None


def tell_imports(imports: Any, source: str | Path) -> None:
    """Warns of a config's imports that are left out, as the config is data."""
    names = imports.get("imports") if isinstance(imports, Mapping) else imports
    names = [names] if isinstance(names, str) or not isinstance(names, Sequence) else names
    foreign = [name for name in names if name is not None and name not in OUR_IMPORTS]
    if foreign:
        print_log(
            f"{source}: imports of the config in it are left out, as the file is data: "
            f"{', '.join(map(_shown, foreign[:5]))}{', …' * (len(foreign) > 5)}",
            logger="current",
            level=logging.WARNING,
        )


def _shown(value: Any) -> str:
    text = repr(value)  # control characters are escaped
    return text if len(text) <= 80 else f"{text[:79]}…"


def _guard_registries() -> None:
    """Lets mmengine's registries ask :func:`registered_types_only` before they import."""
    module: Any = importlib.import_module("mmengine.registry.registry")
    import_module, find_object = module.import_module, module.get_object_from_string

    def guarded_import(name: str, package: str | None = None) -> ModuleType:
        known = name in sys.modules or name.partition(".")[0] in KNOWN_PACKAGES
        if _imports_nothing.get() and not known:
            raise ImportError(f"{name} is not imported from a checkpoint's config")
        return import_module(name, package)

    def guarded_find(name: str) -> Any:
        return None if _imports_nothing.get() else find_object(name)

    module.import_module, module.get_object_from_string = guarded_import, guarded_find


_guard_registries()
