"""Are the data sets of a config there, complete and readable?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.experiments.doctor.findings import Finding, Level
from mmseg_uda.experiments.preflight import LOADERS
from mmseg_uda.labels import find_broken_files
from mmseg_uda.taxonomy import LAYOUTS, DataLocation

AREA = "data"

# Images of the published splits.
COUNTS = {
    ("GTA", "train"): 24966,
    ("SYNTHIA", "train"): 9400,
    ("Cityscapes", "train"): 2975,
    ("Cityscapes", "val"): 500,
    ("ACDC", "train"): 1600,
    ("ACDC", "val"): 406,
    ("DarkZurich", "train"): 2416,
    ("DarkZurich", "val"): 50,
}


def data_sets(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the configs of all data sets of ours that training and validation read."""
    pending = [(config.get(loader) or {}).get("dataset") for loader in LOADERS]
    while pending:
        item = pending.pop(0)
        if not item:
            continue
        nested = [item[key] for key in ("source", "target", "dataset") if item.get(key)]
        if nested:
            pending += nested
        elif item.get("type") in {*LAYOUTS, "TaxonomyDataset"}:
            yield dict(item)


def check_data(configs: Iterable[Mapping[str, Any]], decode: bool, workers: int) -> list[Finding]:
    """Checks paths and counts of every data set, each once; reads all files if asked."""
    findings = []
    seen: set[DataLocation] = set()
    for config in configs:
        for item in data_sets(config):
            try:
                location = DataLocation.create(**item)
            except UserError as error:
                findings.append(Finding(AREA, Level.PROBLEM, error.message, error.fix or ""))
                continue
            if location in seen:
                continue
            seen.add(location)
            missing = location.missing()
            findings += [
                Finding(AREA, Level.PROBLEM, f"{path.dataset}: {path.path} is missing", path.fix)
                for path in missing
            ]
            if not missing:
                findings += _complete(location, item)
                if decode:
                    findings += _readable(location, item, workers)
    return findings


def _complete(location: DataLocation, item: Mapping[str, Any]) -> list[Finding]:
    images = location.images()
    folder = location.label_folder
    text = f"{location.title}: {len(images)} images in {location.image_folder}"
    findings = []
    if folder is not None:
        names = (location.label_name(image) for image in images)
        absent = [name for name in names if not Path(folder, name).is_file()]
        text += f", {len(images) - len(absent)} labels"
        if absent:
            findings.append(
                Finding(
                    AREA,
                    Level.PROBLEM,
                    f"{location.title}: {len(absent)} labels are missing, e.g. "
                    f"{Path(folder, absent[0])}",
                    location.label_fix(),
                )
            )
    expected = COUNTS.get((str(item.get("type")), str(item.get("split", "train"))))
    published = item.get("data_root") is None and item.get("img_dir") is None
    if published and expected not in (None, len(images)):
        findings.append(
            Finding(
                AREA,
                Level.NOTE,
                f"{location.title}: {len(images)} images, the published split has {expected}",
                "complete the download, unless the subset is intended",
            )
        )
    return [Finding(AREA, Level.OK, text), *findings]


def _readable(location: DataLocation, item: Mapping[str, Any], workers: int) -> list[Finding]:
    problems = [
        Finding(AREA, Level.PROBLEM, error.message, error.fix or "")
        for error in find_broken_files(item, workers)
    ]
    return problems or [Finding(AREA, Level.OK, f"{location.title}: all files can be read")]
