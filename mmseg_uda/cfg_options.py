"""``--cfg-options KEY=VALUE`` and what a config's keys may be, with readable errors."""

from __future__ import annotations

import argparse
import ast
import difflib
import inspect
import os
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmseg_uda.cfg_values import parse_value
from mmseg_uda.errors import UserError

if TYPE_CHECKING:
    from mmengine.config import Config

FLAG = "--cfg-options"
EXAMPLE = "uda.masking.mask_ratio=0.5"
QUOTED = "uda.masking={mask_ratio: 0.5, mask_block_size: 64}"
DELETE = "_delete_"
LONGEST = 120  # characters of an option in a message
SHOWN = 3  # keys in a message

# Keys of model.test_cfg that our segmentors read.
TESTING_KEYS = (
    *("mode", "crop_size", "stride", "average"),
    *("batched_slide", "batch_pixels", "hrda_out"),
)
OPEN_MMLAB = ("mmseg", "mmcv", "mmdet", "mmengine", "torch")
# Without mmdetection these are empty classes that know no option.
NEED_MMDET = ("MaskFormerHead", "Mask2FormerHead")

# Keys that mmengine's runner and our tools read, whether or not a config has them.
TOP_LEVEL = frozenset(
    (
        *("model", "uda", "execution", "data_preprocessor", "taxonomy"),
        # An experiment hands its options to trainings and alignments alike.
        *("alignment", "source", "data", "reuse", "workers", "limit", "pictures", "eval_ids"),
        *("train_dataloader", "val_dataloader", "test_dataloader"),
        *("train_cfg", "val_cfg", "test_cfg", "val_evaluator", "test_evaluator"),
        *("optim_wrapper", "param_scheduler", "auto_scale_lr"),
        *("default_hooks", "custom_hooks", "custom_imports", "default_scope", "runner_type"),
        *("work_dir", "load_from", "resume", "launcher", "randomness", "experiment_name"),
        *("env_cfg", "log_processor", "log_level", "visualizer", "vis_backends"),
        *("sync_bn", "model_wrapper_cfg", "find_unused_parameters"),
        *("compile", "activation_checkpointing", "efficient_conv_bn_eval"),
        *("tta_model", "tta_pipeline", "test_pipeline", "crop_size"),
    )
)

# Keys and hooks that change no number of a training.
SILENT_KEYS = (
    *("work_dir", "log_level", "filename", "launcher", "resume"),
    *("visualizer", "vis_backends", "log_processor"),
)
SILENT_HOOKS = (
    *("checkpoint", "logger", "job_files", "timer"),
    *("visualization", "examples", "debug_panels"),
)


def add_config_flag(
    parser: argparse._ActionsContainer, description: str = "change config values"
) -> None:
    """Adds ``--cfg-options`` to a command; given several times, all of it counts."""
    parser.add_argument(
        FLAG, nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=description
    )


def parse_options(
    options: Sequence[str], flag: str = FLAG, example: str = EXAMPLE
) -> dict[str, Any]:
    """``KEY=VALUE`` texts as values, see :func:`~mmseg_uda.cfg_values.parse_value`.

    Args:
        options: As on the command line.
        flag: Its option, for messages.
        example: One that is right.

    Raises:
        UserError: A text has another form, or a key is given two values.
    """
    values: dict[str, Any] = {}
    for option in options:
        key, found, text = option.partition("=")
        if not found or not all(key.split(".")):
            raise UserError(
                f"{flag} {option!r} is no KEY=VALUE.",
                fix=f"Write for example {example}, or in quotes '{QUOTED}'.",
            )
        try:
            value = parse_value(text)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{flag} {option[:LONGEST]!r} cannot be read: {error}.",
                fix=f"Write values as in the config file, and quotes around the whole: '{QUOTED}'.",
            ) from error
        if key in values and repr(values[key]) != repr(value):
            raise UserError(
                f"{flag} gives {key} two values, {values[key]!r} and {value!r}.",
                fix="Leave one of them out. A dict needs quotes, or the shell splits it: "
                f"'{QUOTED}'.",
            )
        values[key] = value
    return values


def merge_options(
    config: Config, values: Mapping[str, Any], path: object, flag: str = FLAG
) -> None:
    """Puts parsed ``--cfg-options`` into ``config``.

    A dict changes the keys that it names, or is put in place of a dict with ``_delete_=True``;
    everything else replaces what was there. A number in a key stands for an entry of a list, and
    for a whole number as key of a dict.

    Args:
        config: Changed in place.
        values: By key, its parts joined by dots.
        path: The config, for messages.
        flag: What gave the values, for messages.

    Raises:
        UserError: A value does not fit the config, or its key begins with a name that neither the
            config has nor anything reads.
    """
    for key in values:
        first = key.partition(".")[0]
        # Of the alignments' key a training's config may have made a variable.
        variable = first == "taxonomy" and "alignment" not in config and first in config
        if first in TOP_LEVEL and not variable:
            continue
        if first not in config:
            raise UserError(
                f"{flag} {key}: the config {path} has no {first!r}, and nothing reads it.",
                fix=nearest(first, [*config, *TOP_LEVEL]) or "Keys are those of the config file.",
            )
        places = list(_places_of(config[first], dict(config.items())))[:SHOWN]
        # Of a number, the same one elsewhere says little.
        telling = isinstance(config[first], (str, dict, list, tuple)) and config[first]
        if places and (telling or _is_read(first, config.filename)):
            raise UserError(
                f"{flag} {key}: {first!r} is a variable of the config {path}, whose value other "
                "keys have taken already.",
                fix=f"Change it in the file, or name those keys: {', '.join(places)}.",
            )
    for key, value in values.items():
        node: Any = config
        parts = key.split(".")
        try:
            for part in parts[:-1]:
                node = _inside(node, _name(node, part))
            _assign(node, _name(node, parts[-1]), value)
        except (LookupError, TypeError) as error:
            raise UserError(
                f"{flag} {key} does not fit the config {path}: {error.args[0]}.",
                fix=f"Give {'.'.join(parts[:-1])} as a whole." if parts[1:] else None,
            ) from error


def _is_read(name: str, path: str | None) -> bool:
    """Whether a config file uses a name that it assigns."""
    if path is None or not path.endswith(".py") or not os.path.isfile(path):
        return False
    with open(path, encoding="utf-8") as file:
        nodes = ast.walk(ast.parse(file.read()))
    return any(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
        for node in nodes
    )


def _places_of(value: Any, node: Any, above: str = "") -> Iterator[str]:
    """Keys below those at the top that have a value of their own config's variable."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for name, part in items:
        key = f"{above}{name}"
        if above and type(part) is type(value) and part == value:
            yield key
        elif isinstance(part, (dict, list)):
            yield from _places_of(value, part, f"{key}.")


def _name(node: Any, part: str) -> str | int:
    """What a part of a key stands for: a key of a dict, or an index of a list."""
    if not part.isdecimal() or (not isinstance(node, list) and part in node):
        return part
    numbers = isinstance(node, list) or all(isinstance(key, int) for key in node)
    return int(part) if numbers else part


def _inside(node: Any, name: str | int) -> Any:
    """The dict or list under a name; a dict that is not there yet is made."""
    if _entry(node, name) is None:
        _assign(node, name, {})
    inside = _entry(node, name)
    if not isinstance(inside, (dict, list)):
        raise TypeError(f"{name} is {inside!r}, which has no keys")
    return inside


def _assign(node: Any, name: str | int, value: Any) -> None:
    before = _entry(node, name)
    merged = isinstance(before, (dict, list)) and isinstance(value, dict)
    if merged and not value.get(DELETE, False):
        if not value:
            raise TypeError(f"{{}} changes nothing of {name}; {{{DELETE}: True}} empties it")
        for key, one in value.items():
            _assign(before, key, one)
    else:
        node[name] = _as_config(value)


def _entry(node: Any, name: str | int) -> Any:
    """What is there under a name; None if a dict has no such key."""
    if not isinstance(node, list):
        return node.get(name)
    if not isinstance(name, int) or not 0 <= name < len(node):
        raise LookupError(f"{name} is none of the {len(node)} entries of a list, 0 is the first")
    return node[name]


def _as_config(value: Any) -> Any:
    """Dicts as mmengine's, in lists as well."""
    from mmengine.config import ConfigDict

    if isinstance(value, dict):
        return ConfigDict({k: _as_config(v) for k, v in value.items() if k != DELETE})
    if isinstance(value, (list, tuple)):
        return type(value)(map(_as_config, value))
    return value


def nearest(key: str, known: Iterable[str], where: str = "") -> str:
    """A question with the known key that is most like ``key``; empty if none is."""
    near = difflib.get_close_matches(key, list(known), n=1)
    prefix = f"{where}." if where else ""
    return f"Did you mean {prefix}{near[0]}? " if near else ""


def unknown_argument(error: TypeError) -> UserError | None:
    """The mistake in a config behind a ``TypeError``, None if a config is not at fault.

    A class of mmengine's registries is called with the keys of its config; one that it does not
    know ends in a ``TypeError`` deep in the constructor of a base class.
    """
    found = re.search(r"got an unexpected keyword argument '(\w+)'", str(error))
    if found is None:
        return None
    key, cls = found[1], None
    for built, values in _in_construction(error):
        cls = built if key in values else cls
    if cls is None or cls.__name__ in NEED_MMDET:
        return None
    known = sorted(arguments(cls))
    return UserError(
        f"{key!r} in a config of type {cls.__name__!r} is no option of it.",
        fix=f"{nearest(key, known)}Known: {', '.join(known)}.",
    )


def config_mistake(error: Exception) -> UserError | None:
    """The mistake in a config behind an error, None if a config is not at fault."""
    wrong = None
    if isinstance(error, TypeError):
        wrong = unknown_argument(error)
    elif isinstance(error, KeyError):
        wrong = unknown_type(error)
    return wrong or failed_construction(error)


def unknown_type(error: KeyError) -> UserError | None:
    """The ``type`` in a config that no imported module registers, None for another error."""
    found = re.match(r"(\S+) is not in the .+? registry", str(error.args[0] if error.args else ""))
    if found is None:
        return None
    known: set[str] = set()
    for frame, _ in traceback.walk_tb(error.__traceback__):
        registry: Any = frame.f_locals.get("registry")
        while hasattr(registry, "module_dict"):
            known |= set(registry.module_dict)
            registry = registry.parent
    return UserError(
        f"type={found[1]!r} in the config is registered by no module.",
        fix=f"{nearest(found[1], known)}Own classes belong into a module that custom_imports "
        "names.",
    )


def failed_construction(error: Exception) -> UserError | None:
    """The error of a class of a library that could not be built from its config, in short.

    These classes assert what they need of their options and of other libraries. None where the
    error has another origin.
    """
    built = [cls for cls, _ in _in_construction(error)]
    if not built or built[-1].__module__.partition(".")[0] not in OPEN_MMLAB:
        return None
    name, lines = built[-1].__name__, str(error).strip().splitlines()
    reason = lines[0] if lines else f"it asserts {_asserted(error)}"
    fix = f"Check the options of type={name!r} in the config."
    if name in NEED_MMDET:
        reason = "it needs mmdetection."
        fix = "Use type='TorchMask2FormerHead', which needs no further library."
    elif isinstance(error, ImportError) or "install" in str(error):
        fix = f"Install what it names, or use another type than {name!r}."
    return UserError(f"{name} cannot be built from its config: {reason}", fix=fix)


def _in_construction(error: Exception) -> Iterator[tuple[type, Mapping[str, Any]]]:
    """The registered classes in whose constructors an error arose, outermost first, and options."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "build_from_cfg":
            cls = frame.f_locals.get("obj_cls")
            if inspect.isclass(cls):
                yield cls, frame.f_locals.get("args", {})


def _asserted(error: Exception) -> str:
    line = traceback.extract_tb(error.__traceback__)[-1].line or "something else"
    return line.removeprefix("assert ")


def arguments(cls: type) -> set[str]:
    """Names of a constructor's arguments, those that it hands on to its bases included."""
    names: set[str] = set()
    for base in cls.__mro__:
        if "__init__" not in vars(base) or base is object:
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names
