"""What the jobs of a table have reached: read from their folders and averaged over seeds."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg_uda.experiments.grid import Experiment, Job, Row
from mmseg_uda.experiments.jobs import JobFolder, State


@dataclass(frozen=True)
class Mean:
    """Mean and sample standard deviation (None for one value) over ``count`` seeds."""

    value: float
    deviation: float | None
    count: int

    def __str__(self) -> str:
        if self.deviation is None:
            return f"{self.value:.1f}"
        return f"{self.value:.1f} ± {self.deviation:.1f}"


def mean(values: Iterable[float | None]) -> Mean | None:
    """Averages over seeds; None where no seed has the value."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return Mean(statistics.fmean(known), deviation, len(known))


@dataclass(frozen=True)
class JobResult:
    """One job as its folder tells it.

    Attributes:
        job: The job.
        state: What has become of it.
        last: Its last validation ({} before the first).
        best: The validation with the highest mIoU on the target.
        evaluations: All validations, in order.
        seconds: Wall time of all attempts that have ended.
        seconds_per_iter: Of the training loop, None if unknown.
        iteration: Steps done.
        message: Why it failed.
    """

    job: Job
    state: State
    last: Mapping[str, Any]
    best: Mapping[str, Any]
    evaluations: Sequence[Mapping[str, Any]]
    seconds: float
    seconds_per_iter: float | None
    iteration: int | None
    message: str

    @property
    def done(self) -> bool:
        """Whether its last validation is the result of a whole training."""
        return self.state is State.DONE

    def metric(self, name: str) -> float | None:
        """Returns a metric of the last validation, None where there is none."""
        return self.last.get(name)


@dataclass(frozen=True)
class RowResult:
    """A row with its jobs. Means are over finished jobs only."""

    number: int
    row: Row
    jobs: tuple[JobResult, ...]

    @property
    def finished(self) -> list[JobResult]:
        """The jobs whose training is complete."""
        return [job for job in self.jobs if job.done]

    def metric(self, name: str) -> Mean | None:
        """Averages a metric of the last iteration over seeds."""
        return mean(job.metric(name) for job in self.finished)

    def class_iou(self, name: str) -> Mean | None:
        """Averages a class's IoU at the last iteration over seeds."""
        return mean(job.last.get("IoU", {}).get(name) for job in self.finished)

    def best(self) -> Mean | None:
        """Averages the mIoU of each seed's best validation."""
        return mean(job.best.get("mIoU") for job in self.finished)

    def best_iterations(self) -> list[int]:
        """Returns when each seed was best."""
        return [job.best["iter"] for job in self.finished if job.best]

    def seconds(self) -> Mean | None:
        """Averages the wall time of a job."""
        return mean(job.seconds for job in self.finished)

    def pace(self) -> Mean | None:
        """Averages the seconds per step."""
        return mean(job.seconds_per_iter for job in self.finished)


def read_job(job: Job, folder: Path) -> JobResult:
    """Reads one job's folder; a job that was never started is pending."""
    files = JobFolder(folder / job.name)
    status, progress, evaluations = files.status(), files.progress(), files.evaluations()
    ranked = [e for e in evaluations if e.get("mIoU") is not None]
    return JobResult(
        job=job,
        state=status.state,
        last=evaluations[-1] if evaluations else {},
        best=max(ranked, key=lambda e: e["mIoU"], default={}),
        evaluations=evaluations,
        seconds=status.seconds,
        seconds_per_iter=progress.get("seconds_per_iter"),
        iteration=progress.get("iter"),
        message=status.message,
    )


def read_results(experiment: Experiment, folder: Path) -> list[RowResult]:
    """Reads all rows, with the table's seeds and any other seed that has a folder."""
    return [
        RowResult(
            number,
            row,
            tuple(
                read_job(Job(experiment.id, number, row, seed), folder)
                for seed in sorted({*experiment.seeds, *_seeds_on_disk(row, folder)})
            ),
        )
        for number, row in enumerate(experiment.rows, start=1)
    ]


def class_names(rows: Iterable[RowResult]) -> list[str]:
    """Returns the classes in the order of the validations' tables."""
    names: dict[str, None] = {}
    for row in rows:
        for job in row.jobs:
            names.update(dict.fromkeys(job.last.get("IoU", {})))
    return list(names)


def shown_classes(rows: Sequence[RowResult]) -> list[str]:
    """Returns the classes that occur in some finished job's result; of 66, many are nowhere."""
    return [name for name in class_names(rows) if any(row.class_iou(name) for row in rows)]


def _seeds_on_disk(row: Row, folder: Path) -> set[int]:
    if not folder.is_dir():
        return set()
    pattern = re.compile(re.escape(f"{row.stem}_s") + r"(\d+)")
    found = (pattern.fullmatch(path.name) for path in folder.iterdir() if path.is_dir())
    return {int(match[1]) for match in found if match}
