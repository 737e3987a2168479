"""The report of a table: results.md, results.csv and results.json in the experiment's folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmseg_uda.experiments.display import clock
from mmseg_uda.experiments.grid import Experiment
from mmseg_uda.experiments.jobs import State
from mmseg_uda.experiments.results import (
    JobResult,
    Mean,
    RowResult,
    class_names,
    read_results,
)
from mmseg_uda.files import write_json, write_text

UNKNOWN = "–"

METRIC_TITLES = {
    "mIoU": "mIoU",
    "mIoU_16": "mIoU 16",
    "mIoU_13": "mIoU 13",
    "mIoU_new": "new classes",
    "aAcc": "pixel acc.",
    "mAcc": "class acc.",
}

MINIWORLD = (
    "**These are miniworld numbers**: miniature networks on rendered scenes, evaluated on rendered "
    "scenes. They say whether the software works and what holds at this scale, and cannot be "
    "compared with a paper's numbers, which this report therefore leaves out."
)


def write_report(experiment: Experiment, folder: Path, profile: str) -> tuple[Path, Path, Path]:
    """Writes the report of whatever the jobs have reached so far.

    Args:
        experiment: The table as the profile runs it.
        folder: The experiment's folder.
        profile: 'paper' or 'mini'.

    Returns:
        Paths of the Markdown, CSV and JSON files.
    """
    rows = read_results(experiment, folder)
    paths = (folder / "results.md", folder / "results.csv", folder / "results.json")
    write_text(paths[0], markdown(experiment, rows, profile, folder.name))
    write_text(paths[1], csv_text(experiment, rows))
    write_json(paths[2], as_json(experiment, rows, profile))
    return paths


def markdown(experiment: Experiment, rows: Sequence[RowResult], profile: str, folder: str) -> str:
    """Returns the report as Markdown."""
    mini = profile == "mini"
    name = f"{experiment.paper} {experiment.table}".strip() or "config"
    parts = [
        f"# Experiment {experiment.id}{' on the miniworld' if mini else ''}: {name}",
        experiment.title,
    ]
    if mini:
        parts.append(MINIWORLD)
    parts += [
        "## Results",
        "Target validation set, student at the last iteration, in %"
        + (", mean ± sample standard deviation over seeds." if _several(rows) else "."),
        _main_table(experiment, rows, published=not mini),
    ]
    if any(row.row.note for row in rows):
        parts += [f"Row {row.number}: {row.row.note}" for row in rows if row.row.note]
    # The notes are about the paper's jobs and numbers.
    parts += [f"Note: {note}" for note in experiment.notes if not mini]
    if classes := class_names(rows):
        parts += [
            "## IoU per class",
            _table(
                ["#", "row", *classes],
                (
                    [str(r.number), r.row.label, *(_text(r.class_iou(c)) for c in classes)]
                    for r in rows
                ),
            ),
        ]
    parts += [
        "## Best validation beside the last",
        "The best iteration is selected on the target's labels, which an adaptation does not have; "
        "it is shown only to tell how much the choice of the last iteration costs.",
        _table(
            ["#", "row", "last mIoU", "best mIoU (selected on target)", "at iteration"],
            (
                [
                    str(r.number),
                    r.row.label,
                    _text(r.metric("mIoU")),
                    _text(r.best()),
                    ", ".join(map(str, r.best_iterations())) or UNKNOWN,
                ]
                for r in rows
            ),
        ),
        "## Cost",
        "Mean wall time of a job (start, validations and resumes included) and of a step, on "
        "whatever the jobs ran on.",
        _cost_table(rows),
        "## Jobs",
        _jobs_table(rows),
        f"Folders: `{folder}/<name>/` (log, checkpoints, `evaluations.json`).",
    ]
    return "\n\n".join(parts) + "\n"


def csv_text(experiment: Experiment, rows: Sequence[RowResult]) -> str:
    """Returns one line per job with all metrics of its last validation."""
    classes = class_names(rows)
    metrics = [*experiment.metrics, "aAcc", "mAcc"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ["row", "label", "seed", "name", "state", "iteration", "seconds", "seconds_per_iter"]
        + [*metrics, "best_mIoU", "best_iteration"]
        + [f"IoU.{name}" for name in classes]
    )
    for row in rows:
        for job in row.jobs:
            values = [job.metric(name) for name in metrics]
            values += [job.best.get("mIoU"), job.best.get("iter")]
            values += [job.last.get("IoU", {}).get(name) for name in classes]
            writer.writerow(
                [row.number, row.row.label, job.job.setup.seed, job.job.name, job.state.value]
                + [job.last.get("iter", ""), f"{job.seconds:.1f}", _empty(job.seconds_per_iter)]
                + [_empty(value) for value in values]
            )
    return buffer.getvalue()


def as_json(experiment: Experiment, rows: Sequence[RowResult], profile: str) -> dict[str, Any]:
    """Returns everything that the report says, for programs."""
    return {
        "experiment": experiment.id,
        "paper": experiment.paper,
        "table": experiment.table,
        "profile": profile,
        "evaluation": "target validation, student, last iteration, percent",
        "rows": [_row_json(experiment, row, profile) for row in rows],
    }


def _row_json(experiment: Experiment, row: RowResult, profile: str) -> dict[str, Any]:
    reported = row.row.reported if profile == "paper" else None
    return {
        "number": row.number,
        "label": row.row.label,
        "reference": not row.row.counts,
        "seeds_finished": len(row.finished),
        "mean": {name: _mean_json(row.metric(name)) for name in experiment.metrics},
        "IoU": {name: _mean_json(row.class_iou(name)) for name in class_names([row])},
        "best_mIoU_selected_on_target": _mean_json(row.best()),
        "reported": reported and {"values": dict(reported.values), "origin": reported.origin},
        "jobs": [
            {
                "name": job.job.name,
                "seed": job.job.setup.seed,
                "state": job.state.value,
                "iteration": job.iteration,
                "seconds": job.seconds,
                "seconds_per_iter": job.seconds_per_iter,
                "last": dict(job.last),
                "best": dict(job.best),
            }
            for job in row.jobs
        ],
    }


def _main_table(experiment: Experiment, rows: Sequence[RowResult], published: bool) -> str:
    shown = [m for m in experiment.metrics if m == "mIoU" or _has_metric(rows, m)]
    # A column of the published value stands beside each metric for which any row has one.
    beside = [
        m
        for m in experiment.metrics
        if published and (m == "mIoU" or any(_reported(r, m) is not None for r in rows))
    ]
    head = ["#", "row", "seeds"]
    for metric in experiment.metrics:
        if metric in shown or metric in beside:
            head.append(METRIC_TITLES.get(metric, metric))
        if metric in beside:
            head.append(f"{METRIC_TITLES.get(metric, metric)}, reported")
    if published:
        head.append("origin")
    lines = []
    for row in rows:
        label = row.row.label if row.row.counts else f"{row.row.label} (reference)"
        cells = [str(row.number), label, f"{len(row.finished)}/{len(row.jobs)}"]
        for metric in experiment.metrics:
            if metric in shown or metric in beside:
                cells.append(_text(row.metric(metric)))
            if metric in beside:
                value = _reported(row, metric)
                cells.append(UNKNOWN if value is None else f"{value:g}")
        if published:
            cells.append(row.row.reported.origin if row.row.reported else UNKNOWN)
        lines.append(cells)
    return _table(head, lines)


def _cost_table(rows: Sequence[RowResult]) -> str:
    paces = [row.pace() for row in rows]
    first = next((pace.value for pace in paces if pace), None)
    lines = []
    for row, pace in zip(rows, paces, strict=True):
        seconds = row.seconds()
        lines.append(
            [
                str(row.number),
                row.row.label,
                UNKNOWN if seconds is None else clock(seconds.value),
                UNKNOWN if pace is None else f"{pace.value:.3f}",
                UNKNOWN if pace is None or not first else f"{pace.value / first:.2f} ×",
            ]
        )
    return _table(["#", "row", "wall time", "s/it", "relative"], lines)


def _jobs_table(rows: Sequence[RowResult]) -> str:
    return _table(
        ["#", "seed", "state", "iteration", "mIoU", "wall time", "s/it", "name"],
        (
            [
                str(row.number),
                str(job.job.setup.seed),
                job.state.value + (f" ({job.message})" if job.message else ""),
                UNKNOWN if job.iteration is None else str(job.iteration),
                _job_miou(job),
                clock(job.seconds) if job.seconds else UNKNOWN,
                UNKNOWN if job.seconds_per_iter is None else f"{job.seconds_per_iter:.3f}",
                f"`{job.job.name}`",
            ]
            for row in rows
            for job in row.jobs
        ),
    )


def _job_miou(job: JobResult) -> str:
    value = job.metric("mIoU")
    if value is None:
        return UNKNOWN
    return f"{value:.1f}" + ("" if job.state is State.DONE else f" (at {job.last['iter']})")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def _text(value: Mean | None) -> str:
    return UNKNOWN if value is None else str(value)


def _empty(value: Any) -> Any:
    return "" if value is None else value


def _mean_json(value: Mean | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return {"mean": value.value, "std": value.deviation, "seeds": value.count}


def _reported(row: RowResult, metric: str) -> float | None:
    return row.row.reported.values.get(metric) if row.row.reported else None


def _has_metric(rows: Sequence[RowResult], metric: str) -> bool:
    return any(job.metric(metric) is not None for row in rows for job in row.jobs)


def _several(rows: Sequence[RowResult]) -> bool:
    return any(len(row.jobs) > 1 for row in rows)
