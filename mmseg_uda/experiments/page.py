"""The report as one self-contained HTML page: tables, learning curves, examples, failures.

The page asks for nothing from outside: its style, charts and pictures are inside.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mmseg_uda import __version__
from mmseg_uda.experiments import history, report_order, report_paper, report_tables
from mmseg_uda.experiments.curves import Line, dot_chart, gain_chart, line_chart
from mmseg_uda.experiments.display import clock
from mmseg_uda.experiments.example_rows import Examples, read_examples
from mmseg_uda.experiments.grid import Experiment
from mmseg_uda.experiments.jobs import JobFolder, State
from mmseg_uda.experiments.results import JobResult, RowResult, shown_classes
from mmseg_uda.files import tail
from mmseg_uda.taxonomy import available_taxonomies, load_taxonomy

TEMPLATES = Path(__file__).parent / "templates"
LOG_LINES = 40
#: A cell of the class table reaches its deepest colour at this IoU.
FULL_HEAT = 100.0


def page(experiment: Experiment, rows: Sequence[RowResult], profile: str, folder: Path) -> str:
    """Returns the report as HTML.

    Args:
        experiment: The table as the profile runs it.
        rows: What its jobs have reached.
        profile: 'paper' or 'mini'.
        folder: The experiment's folder, with a folder per job.
    """
    mini = profile == "mini"
    examples = read_examples(rows, folder)
    scalars = {
        job.job.name: history.read_scalars(folder / job.job.name)
        for row in rows
        for job in row.jobs
    }
    jobs = [_job(row, job, folder, scalars[job.job.name]) for row in rows for job in row.jobs]
    return (
        _environment()
        .get_template("report.html")
        .render(
            title=report_tables.headline(experiment, profile),
            subtitle=experiment.title,
            mini=mini,
            lead=report_tables.MINIWORLD,
            means=report_tables.MINIWORLD_MEANS,
            states=_states(rows),
            what=report_tables.what_is_shown(rows),
            main=report_tables.main_table(experiment, rows, published=not mini),
            order=report_order.in_words(experiment, rows),
            gains=Markup(_gains(experiment, rows)),
            single=report_paper.single_seeds(rows),
            printed=report_paper.printed_table(rows, published=not mini),
            differences=None if mini else report_paper.difference_table(experiment, rows),
            differences_text=report_paper.DIFFERENCES,
            protocol=report_paper.protocol(experiment, profile),
            dots=Markup(_dots(rows, published=not mini)),
            row_notes=[(row.number, row.row.note) for row in rows if row.row.note],
            notes=[] if mini else list(experiment.notes),
            classes=_class_table(rows, examples, published=not mini),
            legend=_legend(examples),
            curves=_overview(rows, scalars),
            row_legend=[
                (row.number, report_tables.curve_label(row), not row.row.counts) for row in rows
            ],
            examples=examples,
            rows={row.number: report_tables.row_label(row) for row in rows},
            best=report_tables.best_table(rows),
            best_text=report_tables.BEST,
            cost=report_tables.cost_table(rows),
            cost_text=report_tables.COST,
            jobs=jobs,
            folder=folder.name,
            version=__version__,
            written=time.strftime("%Y-%m-%d %H:%M"),
        )
    )


@lru_cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["style"] = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    return environment


def _states(rows: Sequence[RowResult]) -> list[tuple[str, int]]:
    found = [job.state for row in rows for job in row.jobs]
    return [(state.value, found.count(state)) for state in State if state in found]


def _dots(rows: Sequence[RowResult], published: bool) -> str:
    lines = []
    for row in rows:
        values = [value for job in row.finished if (value := job.metric("mIoU")) is not None]
        given = report_tables.reported(row, "mIoU") if published else None
        lines.append((f"{row.number} {row.row.label}", row.number - 1, values, given))
    return dot_chart(lines, "mIoU in %", "mIoU of every row at the last iteration")


def _gains(experiment: Experiment, rows: Sequence[RowResult]) -> str:
    classes, lines = report_order.class_gains(experiment, rows)
    return gain_chart(classes, lines, "Gain of a row over another one per class, in points of IoU")


def _overview(
    rows: Sequence[RowResult], scalars: dict[str, dict[str, list[tuple[float, float]]]]
) -> list[dict[str, Any]]:
    """Charts with one line per row: mIoU, losses and pseudo-label quality, means over seeds."""
    charts = []

    def add(name: str, unit: str, curve: Any) -> None:
        lines = []
        for row in rows:
            curves = [c for job in row.finished or row.jobs if (c := curve(job))]
            mean = history.average(curves)
            label = report_tables.row_label(row)
            lines.append(Line(label, row.number - 1, mean, dashed=not row.row.counts))
        svg = line_chart(lines, "iteration", unit, f"{name} over iterations")
        if svg:
            charts.append({"name": name, "svg": Markup(svg)})

    add("mIoU on the target validation set", "mIoU in %", _miou)
    names = dict.fromkeys(name for values in scalars.values() for name in history.losses(values))
    for name in names:
        add(name, "loss", lambda job, n=name: history.losses(scalars[job.job.name]).get(n))
    for name in history.QUALITY:
        add(name, "%", lambda job, n=name: history.quality(scalars[job.job.name]).get(n))
    return charts


def _miou(job: JobResult) -> list[tuple[float, float]]:
    return [(e["iter"], e["mIoU"]) for e in job.evaluations if e.get("mIoU") is not None]


def _job(
    row: RowResult, job: JobResult, folder: Path, scalars: dict[str, list[tuple[float, float]]]
) -> dict[str, Any]:
    """Everything about one job; its charts have one line per term."""
    charts = []
    for name, unit, curves in (
        ("Validation", "in %", {"mIoU": _miou(job)}),
        ("Losses", "loss", history.losses(scalars)),
        ("Pseudo-labels", "in %", history.quality(scalars)),
    ):
        lines = [Line(term, k, points) for k, (term, points) in enumerate(curves.items())]
        svg = line_chart(lines, "iteration", unit, f"{name} of {job.job.name}")
        if svg:
            legend = [(line.color % 10, line.label) for line in lines]
            charts.append({"name": name, "svg": Markup(svg), "legend": legend})
    failed = job.state in (State.FAILED, State.INTERRUPTED)
    seed = job.job.seed
    return {
        "number": row.number,
        "label": row.row.label,
        "seed": seed,
        "state": job.state.value,
        "message": job.message,
        "iteration": job.iteration,
        "miou": report_tables.job_miou(job),
        "seconds": clock(job.seconds) if job.seconds else report_tables.UNKNOWN,
        "pace": job.seconds_per_iter,
        "name": job.job.name,
        "charts": charts,
        "log": tail(JobFolder(folder / job.job.name).log, LOG_LINES) if failed else "",
    }


def _class_table(
    rows: Sequence[RowResult], examples: Examples, published: bool
) -> dict[str, Any] | None:
    """IoU per class with the depth of each cell's colour, and reported values below their row."""
    names = shown_classes(rows)
    if not names:
        return None
    colors = dict(zip(*_palette(names, examples), strict=False))
    lines = []
    for row in rows:
        cells = []
        for name in names:
            mean = row.class_iou(name)
            cells.append(
                {
                    "value": "–" if mean is None else f"{mean.value:.1f}",
                    "spread": ""
                    if mean is None or mean.deviation is None
                    else f"± {mean.deviation:.1f}",
                    "heat": 0.0 if mean is None else min(mean.value / FULL_HEAT, 1.0),
                }
            )
        label = f"{row.number} {report_tables.row_label(row)}"
        lines.append({"label": label, "cells": cells})
        values = [report_tables.reported(row, f"IoU.{name}") for name in names]
        if published and any(value is not None for value in values):
            given = ["–" if value is None else f"{value:.1f}" for value in values]
            cells = [{"value": value, "spread": "", "heat": 0.0} for value in given]
            lines.append({"label": f"{row.number} reported", "cells": cells})
    return {"names": [(name, _css(colors.get(name))) for name in names], "rows": lines}


def _legend(examples: Examples) -> list[tuple[str, str]]:
    colors = [_css(color) for color in examples.palette]
    known = list(zip(examples.classes, colors, strict=False))
    return [*known, ("unlabelled", "rgb(0 0 0)")] if known else []


def _palette(names: Sequence[str], examples: Examples) -> tuple[Sequence[str], Sequence[Any]]:
    """Names and colours of the label space: the examples', or of the taxonomy with these names."""
    if examples.classes:
        return examples.classes, examples.palette
    for known in map(load_taxonomy, available_taxonomies()):
        if set(names) <= set(known.classes):
            return known.classes, known.palette
    return [], []


def _css(color: Sequence[int] | None) -> str:
    return "" if color is None else "rgb({} {} {})".format(*map(int, color))
