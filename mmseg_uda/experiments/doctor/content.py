"""What decoding all files of the data sets told: broken files, classes, copies across splits."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmseg_uda.findings import Finding, Level
from mmseg_uda.inspection import AREA, DataSet
from mmseg_uda.inspection.content import check_labels


def check_content(one: DataSet) -> list[Finding]:
    """Reports broken files, the class histogram, and images that occur twice in a data set."""
    location = one.location
    findings = [
        Finding(AREA, Level.PROBLEM, report.error.message, fix=report.error.fix or "")
        for report in one.reports
        if report.error is not None
    ]
    if not findings:
        findings.append(Finding(AREA, Level.OK, f"{location.title}: all files can be read."))
    findings += _histogram(one)
    copies = _groups((report.digest, report.image) for report in one.reports)
    if copies:
        first = copies[0]
        findings.append(
            Finding(
                AREA,
                Level.NOTE,
                f"{one.title}: {sum(len(group) - 1 for group in copies)} images are copies of "
                f"others, e.g. {first[0]} and {first[1]}",
                fix="Remove the copies, unless they are intended (they are seen more often).",
                details={"copies": copies},
            )
        )
    return findings


def check_duplicates(data_sets: Sequence[DataSet]) -> list[Finding]:
    """Finds images of a training split that an evaluation split holds, too.

    Pixels are compared, so that another file format, compression or name hides no copy.
    """
    findings = []
    for training in data_sets:
        for evaluation in data_sets:
            if "training" not in training.roles or "evaluation" not in evaluation.roles:
                continue
            if training.location.image_folder == evaluation.location.image_folder:
                continue  # told of their names
            places: dict[str | None, list[str]] = defaultdict(list)
            for report in training.reports:
                places[report.digest].append(report.image)
            pairs = [
                (str(training.location.image_folder / image), report.image)
                for report in evaluation.reports
                if report.digest is not None
                for image in places.get(report.digest, ())
            ]
            if pairs:
                mine, theirs = pairs[0]
                findings.append(
                    Finding(
                        AREA,
                        Level.PROBLEM,
                        f"{len(pairs)} training images of {training.title} are evaluated in "
                        f"{evaluation.title}, too, e.g. {mine} is {theirs}",
                        fix="Scores would be too good: remove them from the training split: "
                        + _remove(training, [Path(path) for path, _ in pairs]),
                        details={"pairs": pairs},
                    )
                )
    return findings


def _remove(training: DataSet, images: Sequence[Path]) -> str:
    shown = [shlex.quote(str(path)) for path in images[:3]]
    more = f" (and {len(images) - 3} more, listed by --json)" if len(images) > 3 else ""
    labels = " with their labels" if training.location.label_folder is not None else ""
    return f"rm {' '.join(shown)}{more}{labels}"


def _histogram(one: DataSet) -> list[Finding]:
    if one.location.label_folder is None:
        return []
    taxonomy = one.taxonomy
    pixels: Counter[int] = Counter()
    for report in one.reports:
        pixels.update(report.train_ids or {})
    by_name = {name: pixels[number] for number, name in enumerate(taxonomy.classes)}
    by_name["unlabelled"] = pixels[taxonomy.ignore_index]
    findings = [
        Finding(
            AREA, Level.OK, f"{one.title}: pixels per class.", details={"pixels": dict(by_name)}
        )
    ]
    absent = [name for name in taxonomy.classes if not by_name[name]]
    told = [f.details["absent"] for f in check_labels(one) if "absent" in f.details]
    absent = [name for name in absent if not any(name in names for names in told)]
    if absent:
        findings.append(
            Finding(
                AREA,
                Level.NOTE,
                f"{one.title}: no pixel of {', '.join(absent)}.",
                fix="Nothing, if the data set does not have these classes (SYNTHIA has no terrain, "
                "truck, train); else check its label_map and conversion.",
                details={"absent": absent},
            )
        )
    return findings


def _groups(items: Iterable[tuple[str | None, str]]) -> list[list[str]]:
    """Names that share a digest, sorted."""
    found: dict[str, list[str]] = defaultdict(list)
    for digest, name in items:
        if digest is not None:
            found[digest].append(name)
    return sorted(sorted(names) for names in found.values() if len(names) > 1)
