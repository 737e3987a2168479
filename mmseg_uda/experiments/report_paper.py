"""What a report says beside its tables: the paper's own layout, differences, the protocol."""

from __future__ import annotations

from collections.abc import Sequence

from mmseg_uda.experiments import profiles
from mmseg_uda.experiments.grid import Experiment
from mmseg_uda.experiments.report_tables import (
    UNKNOWN,
    Table,
    metric_title,
    reported,
    table_metrics,
    text,
)
from mmseg_uda.experiments.results import RowResult
from mmseg_uda.protocol import evaluation_way, software

ONE_SEED = "¹"
DIFFERENCES = "Difference to the published value, in points; a single run may be 2 points lower."


def printed_table(rows: Sequence[RowResult], published: bool) -> Table | None:
    """Returns lines and columns as the paper prints them; None where it has one number per line.

    Args:
        rows: What the jobs have reached.
        published: Whether published values stand behind ours, in brackets.
    """
    cells = {row.row.cell: row for row in rows if row.row.cell is not None}
    lines = list(dict.fromkeys(line for line, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    if not cells:
        return None
    body = []
    for line in lines:
        body.append([line])
        for column in columns:
            row = cells.get((line, column))
            body[-1].append(UNKNOWN if row is None else _cell(row, published))
    return Table(["", *columns], body)


def _cell(row: RowResult, published: bool) -> str:
    value = reported(row, "mIoU") if published else None
    mark = ONE_SEED * (len(row.finished) == 1)
    return text(row.metric("mIoU")) + mark + ("" if value is None else f" ({value:g})")


def difference_table(experiment: Experiment, rows: Sequence[RowResult]) -> Table | None:
    """Returns ours, the published value and the difference; None without a pair of them."""
    metrics = table_metrics(experiment, rows)
    lines = []
    for row in rows:
        for metric in metrics:
            ours, theirs = row.metric(metric), reported(row, metric)
            if ours is None or theirs is None:
                continue
            cells = [str(row.number), row.row.label, metric_title(metric, metrics)]
            lines.append([*cells, text(ours), f"{theirs:g}", f"{ours.value - theirs:+.1f}"])
    return Table(["#", "row", "metric", "ours", "reported", "Δ"], lines) if lines else None


def single_seeds(rows: Sequence[RowResult]) -> str:
    """Returns which rows rest on one seed and how they are marked, '' if none does."""
    found = [str(row.number) for row in rows if len(row.finished) == 1]
    marked = f" (marked {ONE_SEED} in the paper's layout)" * any(row.row.cell for row in rows)
    return f"One seed, and so no deviation{marked}: {_rows(found)}." if found else ""


def protocol(experiment: Experiment, profile: str) -> list[str]:
    """Returns how the rows are evaluated, one line per way, and with which software."""
    ways: dict[str, list[str]] = {}
    for number, row in enumerate(experiment.rows, start=1):
        config = row.resolved
        if "model" in config:
            config = profiles.mini(config) if profile == "mini" else config
            ways.setdefault(evaluation_way(config), []).append(str(number))
    lines = [f"{way} ({_rows(numbers)})." for way, numbers in ways.items()]
    return [*lines, f"Report written with {software()}."]


def _rows(numbers: Sequence[str]) -> str:
    return f"row{'s' * (len(numbers) > 1)} {', '.join(numbers)}"
