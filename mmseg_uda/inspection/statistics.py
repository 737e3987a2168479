"""Do the class statistics that rare class sampling reads belong to the labels?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.findings import Finding, Level, problem
from mmseg_uda.labels import (
    PUBLISHED_FILE,
    Counts,
    LabelIds,
    cache_files,
    cached_counts,
    fingerprint_of,
    published_counts,
)

from .data_sets import AREA, DataSet


def check_used_statistics(one: DataSet) -> list[Finding]:
    """As :func:`check_statistics`, for a data set whose rare classes are sampled."""
    return check_statistics(one) if one.rare_class_sampling is not None else []


def check_rare_classes(one: DataSet) -> list[Finding]:
    """Looks for a frame with enough pixels of one class, where all labels are known."""
    options, counts = one.rare_class_sampling, one.counts
    if options is None or not counts or len(counts) < len(one.labels):
        return []
    ids = LabelIds.of(one.taxonomy, one.label_map)
    share = options.get("min_share")
    for pixels in counts.values():
        classes: Counter[int] = Counter()
        for number, count in pixels.items():
            classes[int(ids.lookup[number])] += count
        limit = options.get("min_pixels", 3000) if share is None else share * classes.total()
        if any(n > limit for c, n in classes.items() if c < ids.classes):
            return []
    return [problem(AREA, no_frames(one.location.title, options, len(counts)))]


def no_frames(title: str, options: Mapping[str, Any], files: int) -> UserError:
    """Returns the error that rare class sampling has no frame to draw.

    Args:
        title: Name of the data set.
        options: Of the sampling.
        files: Number of label files.
    """
    limit = ("min_pixels", 3000) if options.get("min_share") is None else ("min_share", None)
    return UserError(
        f"Rare class sampling finds no frame of {title} with enough pixels of one class "
        f"({limit[0]}={options.get(*limit)}; {files} label files).",
        fix="Lower rare_class_sampling.min_pixels, or set rare_class_sampling=None.",
    )


def check_statistics(one: DataSet) -> list[Finding]:
    """Compares statistics files with the labels: all that were decoded, else those looked at."""
    names = [name for name in one.labels if Path(one.label_path(name)).is_file()]
    if not names:
        return []
    paths = list(map(one.label_path, names))
    truth = {name: ids for name in names if (ids := one.counts.get(one.label_path(name)))}
    root = Path(one.location.root)
    findings: list[Finding] = []
    published = root / PUBLISHED_FILE
    if not one.reads_raw_ids and published.is_file():
        findings += _compare(one, published, names, truth, one.taxonomy.ignore_index)
    for path in cache_files(root, fingerprint_of(paths, names)):
        if path.is_file():
            findings += _compare(one, path, names, truth, None)
    return findings


def _compare(
    one: DataSet, path: Path, names: list[str], truth: dict[str, Counts], ignore: int | None
) -> list[Finding]:
    fix = (
        f"Delete {path}; the classes are then counted anew when they are first needed."
        if ignore is None or one.location.convert is None
        else f"Run: {one.location.convert} (or delete {path}, to have the classes counted anew)."
    )
    try:
        counts = published_counts(path, names) if ignore is not None else cached_counts(path, names)
    except UserError as error:
        return [Finding(AREA, Level.PROBLEM, error.message, fix=fix)]
    if counts is None:
        return [
            Finding(
                AREA,
                Level.NOTE,
                f"{path} does not cover the {len(names)} labels of {one.title}.",
                fix="Nothing: they are counted when they are first needed.",
            )
        ]
    stored = dict(zip(names, counts, strict=True))
    wrong = [
        name
        for name, actual in truth.items()
        if name in stored and _without(actual, ignore) != _without(stored[name], ignore)
    ]
    if not wrong:
        return [Finding(AREA, Level.OK, f"{path.name} fits the labels of {one.location.title}.")]
    return [
        Finding(
            AREA,
            Level.PROBLEM,
            f"{path} belongs to other labels than those of {one.title}: {len(wrong)} of "
            f"{len(truth)} compared differ, e.g. {wrong[0]}.",
            fix=fix,
            details={"differing": wrong},
        )
    ]


def _without(counts: Counts, ignore: int | None) -> Counts:
    """Converters leave unlabelled pixels out."""
    return {i: n for i, n in counts.items() if i != ignore and n}
