"""Experiments as data: rows over configs, tables and the jobs they expand to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.experiments.configs import Base, change, plain_config
from mmseg_uda.experiments.naming import config_name

__all__ = ["Base", "Experiment", "Job", "Reported", "Row", "find_experiment"]


@dataclass(frozen=True)
class Reported:
    """A number from a paper beside which ours stands.

    Attributes:
        values: Percent by metric name ('mIoU', 'mIoU_16', 'IoU.road', ...).
        origin: Where it is from; numbers that were computed say so.
        verified: False for numbers that nobody has compared with the paper; no report shows them.
    """

    values: Mapping[str, float]
    origin: str
    verified: bool = True


@dataclass(frozen=True)
class Row:
    """One row of a paper's table: a config, and what the row changes in it.

    Attributes:
        label: What the table calls it.
        config: Config file, as ``find_config`` takes it: 'mic/gtaHR2csHR_mic_hrda'.
        changes: Values by dotted key of the config: {'uda.masking.mask_ratio': 0.5}. A dict is
            merged into the config's, a ``Base`` replaces it, None switches a component off.
        reported: Published or derived numbers, None where unknown.
        note: What the reader of the table should know.
        counts: False for a reference row, which is no job of the paper's table.
        name: Of its jobs, without the seed; '' for the one that follows from its config.
        inputs: What its config takes from another row's job with the same seed, which runs first:
            dotted name of the key, label of the row, and the path below that job's folder.
        metrics: The table's columns that mean something for this row; None for all of them.
        cell: Line and column of the paper's printed table where its number stands, if the table
            has several per line.
    """

    label: str
    config: str | Path
    changes: Mapping[str, Any] = field(default_factory=dict)
    reported: Reported | None = None
    note: str = ""
    counts: bool = True
    name: str = ""
    inputs: tuple[tuple[str, str, str], ...] = ()
    metrics: tuple[str, ...] | None = None
    cell: tuple[str, str] | None = None

    @cached_property
    def shown(self) -> Reported | None:
        """What a report may show of ``reported``."""
        return self.reported if self.reported and self.reported.verified else None

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """The complete config, as plain dicts; reading it loads mmengine. Not to be changed.

        Raises:
            UserError: The file cannot be read, or a change does not fit it.
        """
        who = f"Row '{self.label}':"
        return change(plain_config(self.config), self.changes, self.config, who)

    @cached_property
    def stem(self) -> str:
        """The name of its jobs, without their seed."""
        return self.name or config_name(self.resolved, self.changes)


def host_alone(label: str) -> str:
    """Label of a host's row without the method that a table puts on it."""
    return f"{label}, host alone"


@dataclass(frozen=True)
class Job:
    """One training, or one alignment of taxonomies: a row with one seed."""

    experiment: int | str
    row_number: int
    row: Row
    seed: int

    @property
    def name(self) -> str:
        """Its one stable name, which is also that of its folder."""
        return f"{self.row.stem}_s{self.seed}"


@dataclass(frozen=True)
class Experiment:
    """One table of a paper.

    Attributes:
        id: Number in the papers' repositories; for a single config file, its stem.
        paper: Short name of the paper.
        table: Which table.
        title: What it compares.
        rows: Its rows.
        seeds: Seeds of every row.
        metrics: Columns of the report, in order.
        notes: Deviations from the paper or its code.
        references: Rows for comparison that are trained where published numbers say nothing (the
            mini profile); no jobs of the paper's table.
    """

    id: int | str
    paper: str
    table: str
    title: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    metrics: tuple[str, ...] = ("mIoU",)
    notes: tuple[str, ...] = field(default=())
    references: tuple[Row, ...] = ()

    def jobs(
        self, rows: Iterable[int] | None = None, seeds: Iterable[int] | None = None
    ) -> list[Job]:
        """Expands rows × seeds, row by row.

        Args:
            rows: Row numbers (from 1), default all. Rows whose results they need come along.
            seeds: Seeds, default the table's own.

        Raises:
            UserError: For a row number that the table does not have.
        """
        wanted = list(range(1, len(self.rows) + 1)) if rows is None else list(rows)
        unknown = [number for number in wanted if not 1 <= number <= len(self.rows)]
        if unknown:
            raise UserError(
                f"Experiment {self.id} has no row {', '.join(map(str, unknown[:5]))}"
                f"{', …' * (len(unknown) > 5)}.",
                fix=f"Choose from 1 to {len(self.rows)}; "
                f"run_experiments.py --exp {self.id} --dry-run shows them.",
            )
        chosen = self.seeds if seeds is None else tuple(seeds)
        wanted = self._with_needed(wanted)
        return [
            Job(self.id, number, self.rows[number - 1], seed)
            for number in wanted
            for seed in chosen
        ]

    def needed(self, number: int) -> dict[str, int]:
        """Returns the rows whose results a row needs: config key -> row number.

        Raises:
            ValueError: A row names no earlier row, which is a mistake of the table.
        """
        found = {}
        for key, label, _ in self.rows[number - 1].inputs:
            earlier = [row.label for row in self.rows[: number - 1]]
            found[key] = earlier.index(label) + 1
        return found

    def _with_needed(self, wanted: list[int]) -> list[int]:
        """Rows with those that they need before them, each once."""
        ordered: list[int] = []
        for number in wanted:
            needed = self._with_needed(sorted(self.needed(number).values()))
            ordered += [n for n in [*needed, number] if n not in ordered]
        return ordered


def find_experiment(tables: Iterable[Experiment], number: int) -> Experiment:
    """Looks an experiment up by its id.

    Raises:
        UserError: For an unknown id.
    """
    known = {experiment.id: experiment for experiment in tables}
    if number not in known:
        raise UserError(
            f"There is no experiment {number}.",
            fix=f"Known ids: {', '.join(map(str, sorted(known)))} "
            "(run_experiments.py --list describes them).",
        )
    return known[number]
