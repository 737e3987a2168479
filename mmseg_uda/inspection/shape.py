"""Is every part of a config of the type that its readers expect, and every number in its range?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmseg_uda.findings import Finding, Level

from .numbers import wrong_numbers

AREA = "config"
DICTS = (
    *("model", "uda", "execution", "train_dataloader", "val_dataloader", "test_dataloader"),
    *("train_cfg", "val_cfg", "test_cfg", "optim_wrapper", "default_hooks", "env_cfg"),
    *("randomness", "alignment", "source", "custom_imports", "log_processor"),
)
EVALUATORS = ("val_evaluator", "test_evaluator")
PARTS = ("source", "target", "dataset", "images")
SAMPLINGS = ("rare_class_sampling", "class_uniform_sampling")


def check_shape(config: Mapping[str, Any]) -> list[Finding]:
    """Returns a problem for each part that is no dict, list, text or number where one is needed.

    Whatever else reads a config may count on the rest.
    """
    return [
        Finding(AREA, Level.PROBLEM, f"{key}={_short(value)} is no {wanted}.", fix=fix)
        for key, value, wanted, fix in _misshapen(config)
    ]


Fault = tuple[str, Any, str, str]


def _misshapen(config: Mapping[str, Any]) -> Iterator[Fault]:
    for key in DICTS:
        yield from _dict(key, config.get(key))
    for key in EVALUATORS:
        value = config.get(key)
        if isinstance(value, (list, tuple)):
            for number, part in enumerate(value):
                yield from _dict(f"{key}[{number}]", part)
        else:
            yield from _dict(key, value)
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        settings = config.get(loader)
        if isinstance(settings, Mapping):
            yield from _data_set(f"{loader}.dataset", settings.get("dataset"))
    yield from wrong_numbers(config)


def _data_set(key: str, item: Any) -> Iterator[Fault]:
    yield from _dict(key, item)
    if not isinstance(item, Mapping):
        return
    for name in PARTS:
        yield from _data_set(f"{key}.{name}", item.get(name))
    targets, datasets = item.get("targets"), item.get("datasets")
    yield from _dict(f"{key}.targets", targets)
    if isinstance(targets, Mapping):
        for name, part in targets.items():
            yield from _data_set(f"{key}.targets.{name}", part)
    if isinstance(datasets, (list, tuple)):
        for number, part in enumerate(datasets):
            yield from _data_set(f"{key}.datasets[{number}]", part)
    for name in SAMPLINGS:
        yield from _dict(f"{key}.{name}", item.get(name))
    steps = item.get("pipeline")
    if steps is not None and not isinstance(steps, (list, tuple)):
        yield f"{key}.pipeline", steps, "list", "write pipeline=[dict(type='LoadFrame'), ...]"
        steps = None
    for number, step in enumerate(steps or ()):
        if not callable(step):  # an object that was built already
            yield from _dict(f"{key}.pipeline[{number}]", step)
    for name in ("split", "taxonomy"):
        if item.get(name) is not None and not isinstance(item[name], str):
            yield f"{key}.{name}", item[name], "text", "write one name, or leave it out"
    labels = item.get("label_map")
    if labels is not None and not isinstance(labels, (str, Mapping)):
        yield (
            f"{key}.label_map",
            labels,
            "name and no dict",
            "name a map of the taxonomy, or write a dict such as {7: 0, 8: 1}",
        )


def _dict(key: str, value: Any) -> Iterator[Fault]:
    if value is not None and not isinstance(value, Mapping):
        yield key, value, "dict", f"write {key.rpartition('.')[2]}=dict(...)"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
