"""Images that a training reads twice, in two roles that should differ."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations, islice, product
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.findings import Finding, Level
from mmseg_uda.taxonomy import DataLocation

from .data_sets import AREA, EVALUATION, OURS, entries_of

SPLITS = "a score on images of the training says little: give each its own folder or file_list"
FOLLOWED = 100
DOMAINS = "source and target are to be two domains"


def check_overlap(config: Mapping[str, Any]) -> list[Finding]:
    """Compares the paths of images; ``tools/doctor.py --decode`` also compares their content."""
    findings = []
    # Where nothing is learnt from the target, it may be the source itself (supervised MIC).
    one_domain = bool((config.get("uda") or {}).get("source_only"))
    for one, other in combinations(_data_sets(config), 2):
        roles = {one.role, other.role}
        if roles == {EVALUATION} or not one.may_share(other):
            continue
        if one_domain and EVALUATION not in roles:
            continue
        shared = one.paths() & other.paths()
        if not shared:
            continue
        pair = f"{one.key} and {other.key}"
        what = (
            f"are read for training and for evaluation, by {pair}"
            if EVALUATION in roles
            else f"are in both {pair}"
        )
        message = f"{len(shared)} images {what}, the first is {min(shared)}."
        fix = f"{SPLITS if EVALUATION in roles else DOMAINS}, unless this is intended."
        findings.append(Finding(AREA, Level.WARNING, message, fix=fix))
    return findings


class _Place:
    """A data set by its key in the config."""

    def __init__(self, key: str, role: str, location: DataLocation) -> None:
        self.key = key
        self.role = role
        self.location = location
        self.folders = {os.path.realpath(location.image_folder), *_linked(location.image_folder)}

    def may_share(self, other: _Place) -> bool:
        """Whether a folder of one holds a folder of the other; not all images are listed for it."""
        pairs = product(self.folders, other.folders)
        return any(os.path.commonpath(pair) in pair for pair in pairs)

    def paths(self) -> set[str]:
        """Real paths of all images; empty if they cannot be found, which is told elsewhere."""
        try:
            names = self.location.images()
        except UserError:
            return set()
        folder = str(self.location.image_folder)
        real = cache(os.path.realpath)  # images share few folders
        placed = (os.path.split(os.path.join(folder, name)) for name in names)
        paths = (os.path.join(real(parent), base) for parent, base in placed)
        return {os.path.realpath(path) if os.path.islink(path) else path for path in paths}


def _linked(folder: Path) -> set[str]:
    """Folders that links in a folder lead to or into; of many links, the first are followed."""
    try:
        with os.scandir(folder) as entries:
            links = list(islice((one.path for one in entries if one.is_symlink()), FOLLOWED))
    except OSError:
        return set()
    targets = map(os.path.realpath, links)
    return {target if os.path.isdir(target) else os.path.dirname(target) for target in targets}


def _data_sets(config: Mapping[str, Any]) -> Iterator[_Place]:
    seen = set()
    for key, role, item in entries_of(config):
        if item.get("type") not in OURS:
            continue
        stage = key.partition("_")[0]
        metric = config.get(f"{stage}_evaluator")
        if isinstance(metric, Mapping) and metric.get("format_only"):  # predictions, no score
            continue
        try:
            location = DataLocation.create(**item)
        except UserError:
            continue
        if (role, location) not in seen or role != EVALUATION:  # test_dataloader = val_dataloader
            seen.add((role, location))
            yield _Place(key, role, location)
