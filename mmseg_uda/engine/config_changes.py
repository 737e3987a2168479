"""What has changed in a config since a checkpoint was written, and what that means for a resume.

Of most keys the config holds: learning rate, schedule and length are changed on purpose. What
makes another experiment of it (data, method, batch, seed) is changed by mistake more often than
not, and has to be asked for; another optimizer cannot go on from the state of the old one.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry
from mmseg import registry as mmseg_registry
from torch.utils.data import DataLoader

from mmseg_uda.cfg_options import SILENT_HOOKS
from mmseg_uda.engine.moved_paths import Moves
from mmseg_uda.errors import UserError

#: Where the classes behind a config's ``type`` are looked up, for their defaults; registries
#: of later rooms add themselves.
REGISTRIES = [
    found
    for module in (mmseg_registry, mmengine_registry)
    for found in vars(module).values()
    if isinstance(found, Registry)
]
ABSENT = "not set"
PROCESSES = "processes"


class Holds(Enum):
    """Which of two values holds in a resumed training."""

    EITHER = "no number depends on it"
    CONFIG = "the config"
    CHECKPOINT = "the checkpoint"
    ALLOWED_CONFIG = "the config, with --allow-changes"
    NEITHER = "neither: it cannot change"


# The first pattern that fits a key decides. Keys are those of a config file, with ``uda`` beside
# ``model``; what fits none (fragments that a config joins) concerns no training.
RULES: tuple[tuple[str, Holds], ...] = (
    ("test_*", Holds.EITHER),
    ("*_dataloader.num_workers", Holds.EITHER),
    ("*_dataloader.persistent_workers", Holds.EITHER),
    ("*_dataloader.pin_memory", Holds.EITHER),
    ("*_dataloader.prefetch_factor", Holds.EITHER),
    ("*_dataloader.timeout", Holds.EITHER),
    ("*.data_root", Holds.CONFIG),
    ("optim_wrapper.optimizer.type", Holds.NEITHER),
    ("optim_wrapper.discriminator.type", Holds.NEITHER),
    ("optim_wrapper.optimizer.fused", Holds.EITHER),
    ("optim_wrapper.optimizer.foreach", Holds.EITHER),
    ("optim_wrapper.type", Holds.ALLOWED_CONFIG),
    ("optim_wrapper.amp", Holds.ALLOWED_CONFIG),
    ("optim_wrapper.accumulative_counts", Holds.ALLOWED_CONFIG),
    ("optim_wrapper*", Holds.CONFIG),
    ("param_scheduler*", Holds.CONFIG),
    ("auto_scale_lr*", Holds.CONFIG),
    ("train_cfg.type", Holds.ALLOWED_CONFIG),
    ("train_cfg*", Holds.CONFIG),
    ("val_*", Holds.CONFIG),
    *((f"default_hooks.{name}*", Holds.EITHER) for name in SILENT_HOOKS),
    ("default_hooks*", Holds.CONFIG),
    ("randomness.deterministic", Holds.CONFIG),
    ("load_from", Holds.CHECKPOINT),
    ("*.init_cfg*", Holds.CHECKPOINT),
    ("*.pretrained", Holds.CHECKPOINT),
    ("model.test_cfg*", Holds.CONFIG),
    ("uda.execution*", Holds.CONFIG),
    ("uda.max_iters", Holds.CONFIG),
    ("model*", Holds.ALLOWED_CONFIG),
    ("uda*", Holds.ALLOWED_CONFIG),
    ("train_dataloader*", Holds.ALLOWED_CONFIG),
    ("custom_hooks*", Holds.CONFIG),
    ("randomness*", Holds.ALLOWED_CONFIG),
    ("sync_bn", Holds.ALLOWED_CONFIG),
    (PROCESSES, Holds.ALLOWED_CONFIG),
)
RATES = (
    *("optim_wrapper.optimizer", "optim_wrapper.discriminator", "optim_wrapper.paramwise_cfg"),
    "param_scheduler",
)


@dataclass(frozen=True)
class Change:
    """A key whose value differs.

    Attributes:
        key: As in the config file, e.g. ``uda.alpha`` or ``param_scheduler[0].end``.
        then: Value in the checkpoint; ``ABSENT`` where it had none.
        now: Value in the config.
        holds: What a resumed training takes.
    """

    key: str
    then: Any
    now: Any
    holds: Holds


def find_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Compares the config of a checkpoint with the one of today.

    Equal are lists and tuples, a default and its absence, what ``wrap_model`` fills in, and paths
    of files that have moved.

    Args:
        then: Config as plain dicts, wrapped (see ``wrap_model``); perhaps with ``processes``.
        now: The same of today.

    Returns:
        What differs and concerns the training, in the order of ``now``.
    """
    then, now = as_written(then), as_written(now)
    if (now.get("randomness") or {}).get("seed") is None:
        # Without one in the config, a resumed training has that of the checkpoint.
        seed = (then.get("randomness") or {}).get("seed")
        now["randomness"] = {**(now.get("randomness") or {}), "seed": seed}
    if then.get(PROCESSES) is None:
        now.pop(PROCESSES, None)
    moves = Moves.between(then, now)
    found = []
    for key, old, new in _differences("", then, now):
        holds = next((holds for rule, holds in RULES if fnmatchcase(key, rule)), Holds.EITHER)
        if key.startswith(RATES) and holds is Holds.CONFIG and _belongs_to_checkpoint(now):
            holds = Holds.CHECKPOINT
        silent = holds is Holds.EITHER or (holds is Holds.CHECKPOINT and _empty(new))
        if not silent and not moves.same(key, old, new):
            found.append(Change(key, old, new, holds))
    return found


def decide(changes: Sequence[Change], checkpoint: str, allow_changes: bool) -> str:
    """Lets a training go on with these changes, or not.

    Args:
        changes: See :func:`find_changes`.
        checkpoint: Name of the checkpoint, for messages.
        allow_changes: Whether the user wants what makes another experiment of it.

    Returns:
        What to tell the user, '' without a change.

    Raises:
        UserError: The changes cannot work, or have to be allowed; names the keys.
    """
    if not changes:
        return ""
    impossible = [c for c in changes if c.holds is Holds.NEITHER]
    if impossible:
        raise UserError(
            f"{checkpoint} cannot be resumed with this config: {_keys(impossible)} changed.\n"
            f"{table(changes)}",
            fix="Put the old value back, or train anew in another --work-dir "
            f"(load_from={checkpoint} "
            "brings the weights).",
        )
    asked = [c for c in changes if c.holds is Holds.ALLOWED_CONFIG]
    if asked and not allow_changes:
        raise UserError(
            f"{checkpoint} is of another training: {_keys(asked)} changed.\n{table(changes)}",
            fix="Put the old values back to resume it, give another --work-dir for a new "
            "training, or --allow-changes to go on from the checkpoint with the values of the "
            "config.",
        )
    return f"Changed since {checkpoint}: {_keys(changes)}.\n{table(changes)}"


def table(changes: Sequence[Change]) -> str:
    """The changes as lines of text: key, then, now, what holds."""
    rows = [("changed since the checkpoint", "then", "now", "what holds")]
    rows += [(c.key, _short(c.then), _short(c.now), c.holds.value) for c in changes]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(
        "  " + "  ".join([*map(str.ljust, row[:3], widths), row[3]]).rstrip() for row in rows
    )


def as_written(config: Mapping[str, Any]) -> dict[str, Any]:
    """A wrapped config in the words of a config file, without what ``wrap_model`` fills in."""
    written = _plain(config)
    model = written.get("model") or {}
    if "segmentor" in model:
        uda = {key: value for key, value in model.items() if key != "segmentor"}
        written["model"], written["uda"] = model["segmentor"], uda
        if uda.get("max_iters") == (written.get("train_cfg") or {}).get("max_iters"):
            uda.pop("max_iters", None)
        if uda.get("seed") == ((written.get("randomness") or {}).get("seed") or 0):
            uda.pop("seed", None)
    if isinstance(written.get("param_scheduler"), dict) and "type" in written["param_scheduler"]:
        written["param_scheduler"] = [written["param_scheduler"]]
    if written.get("sync_bn") == "torch":  # mmengine's spelling of True
        written["sync_bn"] = True
    return written


def _belongs_to_checkpoint(config: Mapping[str, Any]) -> bool:
    """Whether the schedule is the checkpoint's: it depends on past validations, or is one of
    several optimizers'."""
    schedule = config.get("param_scheduler")
    schedulers = schedule if isinstance(schedule, list) else []
    past = any(str(one.get("type")).startswith("ReduceOnPlateau") for one in schedulers)
    return past or isinstance(schedule, Mapping)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _differences(key: str, then: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(then, dict) and isinstance(now, dict):
        if then.get("type") != now.get("type"):
            yield f"{key}.type", then.get("type", ABSENT), now.get("type", ABSENT)
            return
        cls = DataLoader if key.endswith("_dataloader") else _class_of(now.get("type"))
        for name in [*now, *(name for name in then if name not in now)]:
            default = _default(cls, name)
            below = f"{key}.{name}" if key else str(name)
            yield from _differences(below, then.get(name, default), now.get(name, default))
    elif isinstance(then, list) and isinstance(now, list) and _alike(then, now):
        for number, (old, new) in enumerate(zip(then, now, strict=True)):
            yield from _differences(f"{key}[{number}]", old, new)
    elif then != now and not (_empty(then) and _empty(now)):
        yield key, then, now


def _alike(then: list[Any], now: list[Any]) -> bool:
    """Whether two lists are compared entry by entry: both of as many configs."""
    entries = [*then, *now]
    return len(then) == len(now) and all(isinstance(entry, (dict, list)) for entry in entries)


def _empty(value: Any) -> bool:
    """Whether a value says no more than its absence; 0 and False do."""
    return value is None or value is ABSENT or value in ({}, [])


def _class_of(kind: Any) -> Any:
    found = (r.module_dict.get(kind) for r in REGISTRIES if isinstance(kind, str))
    return next((cls for cls in found if cls is not None), None)


def _default(cls: Any, name: str) -> Any:
    """Value of a constructor's argument that is not given, as far as it is known."""
    if not inspect.isclass(cls):
        return ABSENT
    # A constructor that takes ``**options`` may have a signature that tells them.
    above = [vars(base)["__init__"] for base in cls.__mro__[:-1] if "__init__" in vars(base)]
    for function in (cls, *above):
        parameter = inspect.signature(function).parameters.get(name)
        if parameter is not None and parameter.default is not parameter.empty:
            return _plain(parameter.default)
    return ABSENT


def _keys(changes: Sequence[Change], most: int = 6) -> str:
    named = [change.key for change in changes[:most]]
    further = len(changes) - len(named)
    return ", ".join([*named, f"{further} more"] if further else named)


def _short(value: Any, length: int = 40) -> str:
    text = value if value is ABSENT else repr(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"
