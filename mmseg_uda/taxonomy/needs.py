"""What a data set's config needs on disk and does not find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .layouts import DEPTH_LOADER, LAYOUTS, MissingPath
from .locations import DataLocation


def parts_of(dataset_cfg: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns the data sets inside the config of a wrapper: of a pair, a list of targets, ..."""
    parts = [dataset_cfg[key] for key in ("source", "target", "dataset") if dataset_cfg.get(key)]
    if dataset_cfg.get("images"):  # of aligned labels, which an earlier job may have to make first
        parts.append({**dataset_cfg["images"], "images_only": True})
    parts += dataset_cfg.get("datasets") or ()
    return [*parts, *(dataset_cfg.get("targets") or {}).values()]


def missing_paths(dataset_cfg: Mapping[str, Any] | None, depth: bool = False) -> list[MissingPath]:
    """Returns what a data set config needs and does not find on disk.

    Args:
        dataset_cfg: Config of one of our data sets, of a ``DomainPairDataset`` or of a wrapper with
            a ``dataset`` key. Data sets of other packages are not looked at.
        depth: Depth files are needed even if no transform of the pipeline loads them.
    """
    if not dataset_cfg:
        return []
    nested = parts_of(dataset_cfg)
    if nested:
        return [path for cfg in nested for path in missing_paths(cfg, depth)]
    if dataset_cfg.get("type") not in {*LAYOUTS, "TaxonomyDataset"}:
        return []
    loads = any(step.get("type") == DEPTH_LOADER for step in dataset_cfg.get("pipeline") or ())
    return DataLocation.create(**dataset_cfg).missing(depth or loads)
