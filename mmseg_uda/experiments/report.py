"""The report of a table: results.md, .csv, .json and .html in the experiment's folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmseg_uda.escaping import csv_cell, markdown_code, markdown_text
from mmseg_uda.experiments.grid import Experiment
from mmseg_uda.experiments.page import page
from mmseg_uda.experiments.report_order import in_words
from mmseg_uda.experiments.report_paper import (
    DIFFERENCES,
    difference_table,
    printed_table,
    protocol,
    single_seeds,
)
from mmseg_uda.experiments.report_tables import (
    BEST,
    COST,
    MINIWORLD,
    MINIWORLD_MEANS,
    best_table,
    class_table,
    cost_table,
    headline,
    jobs_table,
    main_table,
    table_metrics,
    what_is_shown,
)
from mmseg_uda.experiments.results import Mean, RowResult, class_names, read_results
from mmseg_uda.files import write_json, write_text


def write_report(experiment: Experiment, folder: Path, profile: str) -> tuple[Path, ...]:
    """Writes the report of whatever the jobs have reached so far.

    Args:
        experiment: The table as the profile runs it.
        folder: The experiment's folder.
        profile: 'paper' or 'mini'.

    Returns:
        Paths of the Markdown, CSV, JSON and HTML files.
    """
    rows = read_results(experiment, folder)
    paths = tuple(folder / f"results.{ending}" for ending in ("md", "csv", "json", "html"))
    write_text(paths[0], markdown(experiment, rows, profile, folder.name))
    write_text(paths[1], csv_text(experiment, rows))
    write_json(paths[2], as_json(experiment, rows, profile))
    write_text(paths[3], page(experiment, rows, profile, folder))
    return paths


def markdown(experiment: Experiment, rows: Sequence[RowResult], profile: str, folder: str) -> str:
    """Returns the report as Markdown."""
    mini = profile == "mini"
    parts = [
        f"# {markdown_text(headline(experiment, profile))}",
        markdown_text(experiment.title, paragraph=True),
    ]
    if mini:
        parts.append(f"**{MINIWORLD}**: {MINIWORLD_MEANS}")
    parts += [
        "## Results",
        what_is_shown(rows),
        main_table(experiment, rows, published=not mini).markdown(),
    ]
    parts += [text for text in (in_words(experiment, rows), single_seeds(rows)) if text]
    printed = printed_table(rows, published=not mini)
    if printed is not None:
        parts += ["## As the paper prints it", printed.markdown()]
    differences = None if mini else difference_table(experiment, rows)
    if differences is not None:
        parts += ["## Beside the published values", DIFFERENCES, differences.markdown()]
    parts += ["## Protocol", *map(markdown_text, protocol(experiment, profile))]
    if any(row.row.note for row in rows):
        noted = [row for row in rows if row.row.note]
        parts += [f"Row {row.number}: {markdown_text(row.row.note)}" for row in noted]
    # The notes are about the paper's jobs and numbers.
    parts += [f"Note: {markdown_text(note)}" for note in experiment.notes if not mini]
    if class_names(rows):
        parts += ["## IoU per class", class_table(rows, published=not mini).markdown()]
    parts += [
        "## Best validation beside the last",
        BEST,
        best_table(rows).markdown(),
        "## Cost",
        COST,
        cost_table(rows).markdown(),
        "## Jobs",
        jobs_table(rows).markdown(),
        f"Folders: {markdown_code(f'{folder}/<name>/')} (log, checkpoints, `evaluations.json`).",
    ]
    return "\n\n".join(parts) + "\n"


def csv_text(experiment: Experiment, rows: Sequence[RowResult]) -> str:
    """Returns one line per job with all metrics of its last validation."""
    classes = class_names(rows)
    metrics = [*table_metrics(experiment, rows), "aAcc", "mAcc"]
    buffer = io.StringIO()
    lines = csv.writer(buffer, lineterminator="\n")

    def write(cells: Sequence[Any]) -> None:
        lines.writerow(map(csv_cell, cells))

    write(
        ["row", "label", "seed", "name", "state", "iteration", "seconds", "seconds_per_iter"]
        + [*metrics, "best_mIoU", "best_iteration"]
        + [f"IoU.{name}" for name in classes]
    )
    for row in rows:
        for job in row.jobs:
            values = [job.metric(name) for name in metrics]
            values += [job.best.get("mIoU"), job.best.get("iter")]
            values += [job.last.get("IoU", {}).get(name) for name in classes]
            write(
                [row.number, row.row.label, job.job.seed, job.job.name, job.state.value]
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
        "evaluation": what_is_shown(rows),
        "protocol": protocol(experiment, profile),
        "rows": [_row_json(row, table_metrics(experiment, rows), profile) for row in rows],
    }


def _row_json(row: RowResult, metrics: Sequence[str], profile: str) -> dict[str, Any]:
    reported = row.row.shown if profile == "paper" else None
    return {
        "number": row.number,
        "label": row.row.label,
        "reference": not row.row.counts,
        "seeds_finished": len(row.finished),
        "mean": {name: _mean_json(row.metric(name)) for name in metrics},
        "IoU": {name: _mean_json(row.class_iou(name)) for name in class_names([row])},
        "best_mIoU_selected_on_target": _mean_json(row.best()),
        "reported": reported and {"values": dict(reported.values), "origin": reported.origin},
        "jobs": [
            {
                "name": job.job.name,
                "seed": job.job.seed,
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


def _empty(value: Any) -> Any:
    return "" if value is None else value


def _mean_json(value: Mean | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return {"mean": value.value, "std": value.deviation, "seeds": value.count}
