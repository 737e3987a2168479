"""What the selected jobs need and the machine does not have, told before anything starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.taxonomy import MissingPath, missing_paths

LOADERS = ("train_dataloader", "val_dataloader")


def missing_data(configs: Iterable[Mapping[str, Any]]) -> list[MissingPath]:
    """Returns the missing paths of all data sets in the configs, each once."""
    found: dict[str, MissingPath] = {}
    for config in configs:
        for loader in LOADERS:
            dataset = (config.get(loader) or {}).get("dataset")
            for path in missing_paths(dataset):
                found.setdefault(path.path, path)
    return list(found.values())


def explain(missing: Iterable[MissingPath]) -> str:
    """Returns a message with one block per data set or weights file."""
    blocks: dict[str, list[MissingPath]] = {}
    for path in missing:
        blocks.setdefault(path.dataset, []).append(path)
    lines = []
    for title, paths in blocks.items():
        lines.append(f"{title}:")
        lines += [f"  missing: {path.path}" for path in paths]
        lines += [f"  how:     {fix}" for fix in dict.fromkeys(path.fix for path in paths)]
    return "\n".join(lines)


def require(configs: Iterable[Mapping[str, Any]], hint: str) -> None:
    """Checks that everything the configs need is there.

    Raises:
        UserError: Lists per data set which paths are missing and how to get and convert them.
    """
    configs = list(configs)
    missing = missing_data(configs) + missing_weights(configs)
    if missing:
        raise UserError(
            "The selected jobs need files that are not there.\n" + explain(missing), fix=hint
        )


def missing_weights(configs: Iterable[Mapping[str, Any]]) -> list[MissingPath]:
    """Returns the backbone weights that the configs name and that are not found locally."""
    return []
