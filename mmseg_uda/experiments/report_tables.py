"""The tables of a report as cells of text, for Markdown and for the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mmseg_uda.escaping import markdown_code, markdown_text
from mmseg_uda.experiments.display import clock
from mmseg_uda.experiments.grid import Experiment
from mmseg_uda.experiments.jobs import State
from mmseg_uda.experiments.results import JobResult, Mean, RowResult, shown_classes
from mmseg_uda.protocol import STUDENT, evaluated_network

UNKNOWN = "–"

METRIC_TITLES = {
    "mIoU": "mIoU",
    "mIoU_16": "mIoU 16",
    "mIoU_13": "mIoU 13",
    "mIoU_test": "mIoU, test server",
    "mIoU_new": "new classes",
    "mIoU_known": "known classes",
    "mIoU_upstream": "mIoU, upstream",
    "aAcc": "pixel acc.",
    "mAcc": "class acc.",
    "cityscapes/mIoU": "Cityscapes",
    "bdd100k/mIoU": "BDD100K",
    "mapillary/mIoU": "Mapillary",
    "synthia/mIoU": "SYNTHIA",
    "gta/mIoU": "GTA",
    "acdc/mIoU": "ACDC",
}


MINIWORLD = "These are miniworld numbers"
MINIWORLD_MEANS = (
    "miniature networks on rendered scenes, evaluated on rendered scenes. They say whether the "
    "software works and what holds at this scale, and cannot be compared with a paper's numbers, "
    "which this report therefore leaves out."
)
BEST = (
    "The best iteration is an oracle: selected on the target's labels, which are not there; it "
    "is shown only to tell how much the choice of the last iteration costs."
)
COST = (
    "Mean wall time of a job (start, validations and resumes included) and of a step, on whatever "
    "the jobs ran on."
)


@dataclass(frozen=True)
class Table:
    """Column heads and rows of cells, all text; ``code`` is the head of the column of job names."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    code: str | None = None

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers, which are set right-aligned; names of rows are none."""
        cells = [row[column] for row in self.rows]
        return self.head[column] not in ("", "row") and all(
            re.fullmatch(r"[–+\-\d].{0,20}", cell) for cell in cells
        )

    def markdown(self) -> str:
        """Returns the table as Markdown."""
        names = [head == self.code for head in self.head]
        lines = [[markdown_text(head) for head in self.head]]
        for row in self.rows:
            cells = zip(row, names, strict=True)
            lines.append([markdown_code(c, True) if n else markdown_text(c) for c, n in cells])
        rule = "|" + "---|" * len(self.head)
        head, *rows = ("| " + " | ".join(line) + " |" for line in lines)
        return "\n".join([head, rule, *rows])


def headline(experiment: Experiment, profile: str) -> str:
    """Which table of which paper this is."""
    name = f"{experiment.paper} {experiment.table}".strip() or "config"
    world = " on the miniworld" if profile == "mini" else ""
    return f"Experiment {experiment.id}{world}: {name}"


def what_is_shown(rows: Sequence[RowResult]) -> str:
    """What the numbers are."""
    seeds = ", mean ± sample standard deviation over seeds" if several_seeds(rows) else ""
    if target_names(rows):
        return (
            "Validation sets of unseen targets, network at the last iteration, mIoU in %; the mean "
            f"counts every target alike{seeds}."
        )
    configs = (row.row.resolved for row in rows)
    networks = {evaluated_network(one): None for one in configs if "model" in one}
    whose = " or ".join(networks) or STUDENT
    return f"Target validation set, {whose} at the last iteration, in %{seeds}."


def main_table(experiment: Experiment, rows: Sequence[RowResult], published: bool) -> Table:
    """Metrics of every row, ``published`` ones beside them where wanted and known."""
    metrics = table_metrics(experiment, rows)
    shown = [m for m in metrics if m == "mIoU" or has_metric(rows, m)]
    # A column of the published value stands beside each metric for which any row has one.
    beside = [
        m
        for m in metrics
        if published and (m == "mIoU" or any(reported(r, m) is not None for r in rows))
    ]
    head = ["#", "row", "seeds"]
    for metric in metrics:
        if metric in shown or metric in beside:
            head.append(metric_title(metric, metrics))
        if metric in beside:
            head.append(f"{metric_title(metric, metrics)}, reported")
    if published:
        head.append("origin")
    lines = []
    for row in rows:
        cells = [str(row.number), row_label(row), f"{len(row.finished)}/{len(row.jobs)}"]
        for metric in metrics:
            if metric in shown or metric in beside:
                meant = row.row.metrics is None or metric in row.row.metrics
                cells.append(text(row.metric(metric)) if meant else UNKNOWN)
            if metric in beside:
                value = reported(row, metric)
                cells.append(UNKNOWN if value is None else f"{value:g}")
        if published:
            cells.append(row.row.shown.origin if row.row.shown else UNKNOWN)
        lines.append(cells)
    return Table(head, lines)


def table_metrics(experiment: Experiment, rows: Sequence[RowResult]) -> list[str]:
    """Columns of a table: the experiment's, and every target that was evaluated besides."""
    targets = (f"{name}/mIoU" for name in target_names(rows))
    return list(dict.fromkeys([*experiment.metrics, *targets]))


def metric_title(metric: str, metrics: Sequence[str]) -> str:
    """The head of a metric's column; with several targets, mIoU is their mean."""
    if metric == "mIoU" and any("/" in name for name in metrics):
        return "mean of targets"
    return METRIC_TITLES.get(metric, metric.removesuffix("/mIoU"))


def target_names(rows: Sequence[RowResult]) -> list[str]:
    """Names of the targets, [] where a single one is evaluated."""
    names = (name for row in rows for job in row.jobs for name in job.last if "/" in name)
    return list(
        dict.fromkeys(name.removesuffix("/mIoU") for name in names if name.endswith("/mIoU"))
    )


def class_table(rows: Sequence[RowResult], published: bool = False) -> Table:
    """IoU of every class; if ``published``, with the reported values below a row that has them."""
    classes = shown_classes(rows)
    lines = []
    for row in rows:
        lines.append([str(row.number), row.row.label, *(text(row.class_iou(c)) for c in classes)])
        values = [reported(row, f"IoU.{c}") for c in classes]
        if published and any(value is not None for value in values):
            cells = [UNKNOWN if value is None else f"{value:.1f}" for value in values]
            lines.append(["", f"{row.row.label}, reported", *cells])
    return Table(["#", "row", *classes], lines)


def best_table(rows: Sequence[RowResult]) -> Table:
    """The best validation beside the last, of rows that validate more than once."""
    return Table(
        ["#", "row", "last mIoU", "oracle: best mIoU (selected on target)", "at iteration"],
        [
            [
                str(r.number),
                r.row.label,
                text(r.metric("mIoU")),
                text(r.best()),
                ", ".join(map(str, r.best_iterations())) or UNKNOWN,
            ]
            for r in rows
            if not r.finished or any(len(job.evaluations) > 1 for job in r.finished)
        ],
    )


def cost_table(rows: Sequence[RowResult]) -> Table:
    """Time of a job and of a step."""
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
    return Table(["#", "row", "wall time", "s/it", "relative"], lines)


def jobs_table(rows: Sequence[RowResult]) -> Table:
    """Every job with its state."""
    return Table(
        ["#", "seed", "state", "iteration", "mIoU", "wall time", "s/it", "name"],
        [
            [
                str(row.number),
                str(job.job.seed),
                job.state.value + (f" ({job.message})" if job.message else ""),
                UNKNOWN if job.iteration is None else str(job.iteration),
                job_miou(job),
                clock(job.seconds) if job.seconds else UNKNOWN,
                UNKNOWN if job.seconds_per_iter is None else f"{job.seconds_per_iter:.3f}",
                job.job.name,
            ]
            for row in rows
            for job in row.jobs
        ],
        code="name",
    )


def row_label(row: RowResult) -> str:
    """The row's name; rows that do not belong to the paper's table say so."""
    return row.row.label if row.row.counts else f"{row.row.label} (reference)"


def curve_label(row: RowResult) -> str:
    """The row's name beside its curves; it says so where they are of jobs that have not ended."""
    begun = any(job.evaluations or job.iteration for job in row.jobs)
    return row_label(row) + " (interim: no job is done)" * (begun and not row.finished)


def job_miou(job: JobResult) -> str:
    """The last mIoU, with its iteration when the job is not done."""
    value = job.metric("mIoU")
    if value is None:
        return UNKNOWN
    return f"{value:.1f}" + ("" if job.state is State.DONE else f" (at {job.last['iter']})")


def text(value: Mean | None) -> str:
    """A mean with its deviation, or the sign for unknown."""
    return UNKNOWN if value is None else str(value)


def reported(row: RowResult, metric: str) -> float | None:
    """The published value."""
    return row.row.shown.values.get(metric) if row.row.shown else None


def has_metric(rows: Sequence[RowResult], metric: str) -> bool:
    """Whether any job has it."""
    return any(job.metric(metric) is not None for row in rows for job in row.jobs)


def several_seeds(rows: Sequence[RowResult]) -> bool:
    """Whether any row has more than one job."""
    return any(len(row.jobs) > 1 for row in rows)
