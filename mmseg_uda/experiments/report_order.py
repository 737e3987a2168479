"""Which rows a paper finds better than which, and what was found: in words and per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mmseg_uda.experiments.grid import Experiment, host_alone
from mmseg_uda.experiments.profiles import SOURCE_ONLY, TARGET_ONLY
from mmseg_uda.experiments.report_tables import has_metric, metric_title, reported
from mmseg_uda.experiments.results import RowResult, mean, shown_classes

#: Of classes that a source lacks; told beside the metric that compares rows.
NEW = "mIoU_new"


@dataclass(frozen=True)
class Comparison:
    """Two rows, the second of which should be better.

    Attributes:
        lower, upper: The rows.
        metric: By which they are compared.
    """

    lower: RowResult
    upper: RowResult
    metric: str

    @property
    def name(self) -> str:
        """Both names: 'HRDA over DAFormer'."""
        return f"{self.upper.row.label} over {self.lower.row.label}"

    @property
    def gains(self) -> list[float]:
        """Points that the second row is better by, of each seed that both have finished."""
        below = {job.job.seed: job.metric(self.metric) for job in self.lower.finished}
        found = []
        for job in self.upper.finished:
            before, after = below.get(job.job.seed), job.metric(self.metric)
            if before is not None and after is not None:
                found.append(after - before)
        return found

    def class_gain(self, name: str) -> float | None:
        """The same of one class's IoU, the mean over seeds; None without such a seed."""
        below = {job.job.seed: job.last.get("IoU", {}).get(name) for job in self.lower.finished}
        gains = []
        for job in self.upper.finished:
            before, after = below.get(job.job.seed), job.last.get("IoU", {}).get(name)
            gains.append(None if before is None or after is None else after - before)
        found = mean(gains)
        return None if found is None else found.value


def comparisons(experiment: Experiment, rows: Sequence[RowResult]) -> list[Comparison]:
    """Neighbours of the expected order, then each method beside its host."""
    order, metric = expected_order(experiment, rows)
    steps = [Comparison(a, b, metric) for a, b in pairwise(order)]
    by_label = {row.row.label: row for row in rows}
    for row in rows:
        host = _host(row, by_label)
        if host is None or not row.row.counts or any(s.upper is row for s in steps):
            continue
        steps.append(Comparison(host, row, metric))
    return steps


def expected_order(
    experiment: Experiment, rows: Sequence[RowResult]
) -> tuple[list[RowResult], str]:
    """Rows in the order of their published numbers, worst first, and the metric of these.

    A training on the source alone stands below all of them and one on the target's labels above. A
    method's row is compared with its host's, not with the rows in between.
    """
    by_label = {row.row.label: row for row in rows}
    hosts = [row for row in rows if row.row.counts and _host(row, by_label) is None]
    metric = next(
        (
            name
            for name in reversed(experiment.metrics)
            if hosts and all(reported(row, name) is not None for row in hosts)
        ),
        "mIoU",
    )
    known = [(value, row) for row in hosts if (value := reported(row, metric)) is not None]
    order = [row for _, row in sorted(known, key=lambda pair: pair[0])]
    ends = {label: row for label, row in by_label.items() if not row.row.counts}
    below, above = ends.get(SOURCE_ONLY), ends.get(TARGET_ONLY)
    return [*([below] if below else []), *order, *([above] if above else [])], metric


def _host(row: RowResult, by_label: Mapping[str, RowResult]) -> RowResult | None:
    host = row.row.label.rpartition(" + ")[0]
    return by_label.get(host) or by_label.get(host_alone(host))


def in_words(experiment: Experiment, rows: Sequence[RowResult]) -> str:
    """One paragraph: the order that the paper has, and where this table differs; '' without one."""
    order, metric = expected_order(experiment, rows)
    steps = [step for step in comparisons(experiment, rows) if step.gains]
    if not steps:
        return ""
    parts = []
    if len(order) > 1:
        chain = " < ".join(row.row.label for row in order)
        parts.append(f"Expected, by the published numbers: {chain}.")
    title = metric_title(metric, experiment.metrics)
    found = "; ".join(_in_words(step, NEW in experiment.metrics) for step in steps)
    parts.append(f"Found ({title}, difference within a seed, mean over seeds): {found}.")
    wrong = [step.name for step in steps if sum(step.gains) <= 0]
    parts.append(
        f"Not as expected: {', '.join(wrong)}." if wrong else "All of these are as expected."
    )
    return " ".join(parts)


def _in_words(step: Comparison, tells_new: bool) -> str:
    gains = step.gains
    right = sum(gain > 0 for gain in gains)
    text = f"{step.name} {sum(gains) / len(gains):+.1f} ({right} of {len(gains)} seeds)"
    new = step.upper.metric(NEW)
    if tells_new and new is not None and has_metric([step.lower], NEW) and new.value > 0:
        text += f", new classes {new}"
    return text


def class_gains(
    experiment: Experiment, rows: Sequence[RowResult]
) -> tuple[list[str], list[tuple[str, list[float | None]]]]:
    """Classes, and for each comparison its gain per class in points of IoU."""
    classes = shown_classes(rows)
    steps = [step for step in comparisons(experiment, rows) if step.gains]
    return classes, [(step.name, [step.class_gain(c) for c in classes]) for step in steps]
