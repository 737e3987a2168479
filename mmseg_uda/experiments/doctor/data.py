"""Are the data sets of a config there, complete and readable?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.experiments import preflight
from mmseg_uda.experiments.doctor.content import check_content, check_duplicates
from mmseg_uda.findings import Finding, Level, problem, unique
from mmseg_uda.inspection import (
    AREA,
    TRAINING,
    DataSet,
    check_statistics,
    collect,
    inspect_config,
    inspect_data_set,
)
from mmseg_uda.labels import inspect_files

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
    ("BDD100K", "train"): 7000,
    ("BDD100K", "val"): 1000,
    ("Mapillary", "train"): 18000,
    ("Mapillary", "val"): 2000,
}


def check_data(configs: Iterable[Mapping[str, Any]], decode: bool, workers: int) -> list[Finding]:
    """Checks every data set of the configs, each once.

    Args:
        configs: Resolved configs.
        decode: Read all files: sizes, ids, classes, copies across splits, statistics.
        workers: Processes that read.
    """
    configs = list(configs)
    findings: list[Finding] = []
    for config in configs:
        findings += inspect_config(config)
    data_sets = collect(configs, findings)
    for one in data_sets:
        try:
            missing = one.location.missing(one.needs_depth)
            findings += [
                Finding(
                    AREA, Level.PROBLEM, f"{path.dataset}: {path.path} is missing.", fix=path.fix
                )
                for path in missing
            ]
            if missing:
                continue
            findings += _complete(one)
            if decode:
                one.reports = list(inspect_files(one.item, workers, one.needs_depth))
                findings += check_content(one)
            # Decoding has told of each file that cannot be used.
            told = [f for f in inspect_data_set(one) if not (decode and "files" in f.details)]
            findings += told
            if TRAINING in one.roles:  # only rare class sampling reads them
                findings += check_statistics(one)
        except UserError as error:  # its list, folders, taxonomy or label map
            findings.append(problem(AREA, error))
    findings = unique(findings)
    return [*findings, *_further(configs, findings), *check_duplicates(data_sets)]


def _further(configs: Iterable[Mapping[str, Any]], before: Sequence[Finding]) -> list[Finding]:
    """What methods need beyond the files that their pipelines load, as a training finds it."""
    try:
        missing = preflight.missing_data(configs)
    except UserError:
        return []  # a data set's options are wrong; told above
    findings = [
        Finding(AREA, Level.PROBLEM, f"{path.dataset}: {path.path} is missing.", fix=path.fix)
        for path in missing
    ]
    return [finding for finding in findings if finding not in before]


def _complete(one: DataSet) -> list[Finding]:
    location, item = one.location, one.item
    images, labels = one.images, one.labels
    text = f"{location.title}: {len(images)} images in {location.image_folder}"
    if location.file_list is not None:
        text += f" of {location.file_list}"
    findings = []
    if labels:
        absent = [name for name in labels if not os.path.isfile(one.label_path(name))]
        text += f", {len(images) - len(absent)} labels"
        if absent:
            findings.append(
                Finding(
                    AREA,
                    Level.PROBLEM,
                    f"{location.title}: {len(absent)} labels are missing, e.g. "
                    f"{one.label_path(absent[0])}.",
                    fix=location.label_fix(one.label_path(absent[0])),
                    details={"missing_labels": absent},
                )
            )
    expected = COUNTS.get((str(item.get("type")), str(item.get("split", "train"))))
    # A list of images was checked entry by entry.
    chosen = [item.get(key) for key in ("data_root", "img_dir", "file_list")]
    published = all(one is None for one in chosen)
    if published and expected not in (None, len(images)):
        findings.append(
            Finding(
                AREA,
                Level.NOTE,
                f"{location.title}: {len(images)} images, the published split has {expected}",
                fix="Complete the download, unless the subset is intended.",
            )
        )
    return [Finding(AREA, Level.OK, f"{text}."), *findings]
