"""Do the class statistics that rare class sampling reads belong to the labels?"""

from __future__ import annotations

from pathlib import Path

from mmseg_uda.errors import UserError
from mmseg_uda.findings import Finding, Level
from mmseg_uda.labels import (
    PUBLISHED_FILE,
    Counts,
    cache_files,
    cached_counts,
    fingerprint_of,
    published_counts,
)

from .data_sets import AREA, DataSet


def check_used_statistics(one: DataSet) -> list[Finding]:
    """As :func:`check_statistics`, for a data set whose rare classes are sampled."""
    return check_statistics(one) if one.rare_class_sampling is not None else []


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
        f"delete {path}; the classes are then counted anew when they are first needed"
        if ignore is None or one.location.convert is None
        else f"run: {one.location.convert} (or delete {path}, to have the classes counted anew)"
    )
    try:
        counts = published_counts(path, names) if ignore is not None else cached_counts(path, names)
    except (UserError, ValueError, KeyError, TypeError, AttributeError) as error:
        text = error.message if isinstance(error, UserError) else f"{path} is damaged: {error!r}"
        return [Finding(AREA, Level.PROBLEM, text, fix)]
    if counts is None:
        return [
            Finding(
                AREA,
                Level.NOTE,
                f"{path} does not cover the {len(names)} labels of {one.title}",
                "nothing: they are counted when they are first needed",
            )
        ]
    stored = dict(zip(names, counts, strict=True))
    wrong = [
        name
        for name, actual in truth.items()
        if name in stored and _without(actual, ignore) != _without(stored[name], ignore)
    ]
    if not wrong:
        return [Finding(AREA, Level.OK, f"{path.name} fits the labels of {one.location.title}")]
    return [
        Finding(
            AREA,
            Level.PROBLEM,
            f"{path} belongs to other labels than those of {one.title}: {len(wrong)} of "
            f"{len(truth)} compared differ, e.g. {wrong[0]}",
            fix,
            {"differing": wrong},
        )
    ]


def _without(counts: Counts, ignore: int | None) -> Counts:
    """Converters leave unlabelled pixels out."""
    return {i: n for i, n in counts.items() if i != ignore and n}
