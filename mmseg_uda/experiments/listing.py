"""What ``run_experiments.py`` prints about experiments and jobs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mmseg_uda.calling import as_called
from mmseg_uda.experiments.configs import origin
from mmseg_uda.experiments.grid import Experiment
from mmseg_uda.experiments.jobs import State
from mmseg_uda.experiments.plan import PlannedJob
from mmseg_uda.wording import number_of


def list_experiments(tables: Sequence[Experiment], console: Console) -> None:
    """Prints ids, tables and job counts."""
    table = Table()
    for column in ("id", "paper", "table", "jobs", "what it compares"):
        table.add_column(column, justify="right" if column in ("id", "jobs") else "left")
    for experiment in tables:
        table.add_row(
            str(experiment.id),
            experiment.paper,
            experiment.table,
            str(len(experiment.jobs())),
            experiment.title,
        )
    console.print(table)
    console.print(
        as_called("Rows and names: run_experiments.py --exp ID --dry-run"), highlight=False
    )


def show_plan(experiment: Experiment, planned: Sequence[PlannedJob], console: Console) -> None:
    """Prints the jobs with their state and where their configs are."""

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    counted = sum(one.job.row.counts for one in planned)
    extra = len(planned) - counted
    references = f" and {number_of(extra, 'reference job')}" if extra else ""
    source = f"{experiment.paper} {experiment.table}".strip()
    where = f" ({source})" if source else ""
    say(f"Experiment {experiment.id}{where}: {experiment.title}")
    say(f"{number_of(counted, 'job')}{references}")
    last = None
    for one in planned:
        if one.job.row_number != last:
            last = one.job.row_number
            say(f"\nrow {last}: {one.job.row.label}")
            for line in origin(one.job.row.config, one.job.row.changes):
                say(f"  {line}")
        state = one.folder.status().state
        say(f"  {one.job.name}" + ("" if state is State.PENDING else f"  [{state.value}]"))
        say(f"    config {short(one.config_path)}")
    for note in experiment.notes:
        say(as_called(f"\nNote: {note}"))


def short(path: Path) -> str:
    """Returns a path relative to the current folder, if it is inside."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
