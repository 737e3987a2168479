"""Do the class statistics that rare class sampling reads belong to the labels?"""

from __future__ import annotations

from pathlib import Path

from mmseg_uda.errors import UserError
from mmseg_uda.findings import Finding, Level
from mmseg_uda.inspection import AREA, DataSet
from mmseg_uda.labels import (
    PUBLISHED_FILE,
    cache_files,
    cached_counts,
    count_ids,
    fingerprint_of,
    published_counts,
    read_label,
)
from mmseg_uda.labels.conversion import Counts

SAMPLE = 8  # labels that are read where not all of them were


def check_statistics(one: DataSet) -> list[Finding]:
    """Compares statistics files with the labels: all that were decoded, else a few."""
    location = one.location
    folder = location.label_folder
    if folder is None:
        return []
    names = [location.label_name(image) for image in location.images()]
    names = [name for name in names if Path(folder, name).is_file()]
    paths = [str(Path(folder, name)) for name in names]
    if not names:
        return []
    truth = _decoded(one) or _sampled(folder, names)
    root = Path(location.root)
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


def _decoded(one: DataSet) -> dict[str, Counts]:
    return {
        one.location.label_name(report.image): report.ids
        for report in one.reports
        if report.ids is not None
    }


def _sampled(folder: Path, names: list[str]) -> dict[str, Counts]:
    result: dict[str, Counts] = {}
    for name in names[:: max(len(names) // SAMPLE, 1)][:SAMPLE]:
        try:
            pixels = count_ids(read_label(str(Path(folder, name))))
        except UserError:
            continue  # decoding everything reports it
        result[name] = {i: int(n) for i, n in enumerate(pixels) if n}
    return result
