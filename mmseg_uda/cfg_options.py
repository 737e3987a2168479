"""``--cfg-options KEY=VALUE`` and what a config's keys may be, with readable errors."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmseg_uda.errors import UserError

if TYPE_CHECKING:
    from mmengine.config import Config

FLAG = "--cfg-options"
EXAMPLE = "uda.masking.mask_ratio=0.5"

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
        *("tta_model", "tta_pipeline"),
    )
)


def parse_options(
    options: Sequence[str], flag: str = FLAG, example: str = EXAMPLE
) -> dict[str, Any]:
    """``KEY=VALUE`` texts as values: numbers, booleans, None, lists, else texts.

    Args:
        options: As on the command line.
        flag: Its option, for messages.
        example: One that is right.

    Raises:
        UserError: A text has another form.
    """
    if not options:
        return {}
    from mmengine.config import DictAction

    values = {}
    for option in options:
        key, found, value = option.partition("=")
        if not found or not key:
            raise UserError(
                f"{flag} {option!r} is no KEY=VALUE.", f"Write for example {example} (no spaces)."
            )
        values[key] = DictAction._parse_iterable(value)
    return values


def merge_options(config: Config, values: Mapping[str, Any], path: object) -> None:
    """Put parsed ``--cfg-options`` into ``config``.

    Args:
        config: Changed in place.
        values: By key, its parts joined by dots.
        path: The config, for messages.

    Raises:
        UserError: A value does not fit the config, or its key begins with a name that neither the
            config has nor anything reads.
    """
    for key in values:
        first = key.partition(".")[0]
        if first not in config and first not in TOP_LEVEL:
            raise UserError(
                f"{FLAG} {key}: the config {path} has no {first!r}, and nothing reads it.",
                nearest(first, [*config, *TOP_LEVEL]) or "Keys are those of the config file.",
            )
    try:
        config.merge_from_dict(dict(values))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, AssertionError) as error:
        raise UserError(f"{FLAG} does not fit the config {path}: {error}") from error


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
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "build_from_cfg":
            values = trace.tb_frame.f_locals
            if key in values.get("args", ()):
                cls = values.get("obj_cls")
        trace = trace.tb_next
    if not inspect.isclass(cls):
        return None
    known = sorted(arguments(cls))
    return UserError(
        f"{key!r} in a config of type {cls.__name__!r} is no option of it.",
        f"{nearest(key, known)}Known: {', '.join(known)}.",
    )


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
