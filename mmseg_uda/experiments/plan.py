"""From what the user asked for to tasks: configs written, fingerprints taken."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mmseg_uda.cfg_options import FLAG, parse_options
from mmseg_uda.cli import run_name
from mmseg_uda.config_files import find_config
from mmseg_uda.errors import UserError
from mmseg_uda.experiments import profiles, variants
from mmseg_uda.experiments.configs import change, origin, render
from mmseg_uda.experiments.executors import Task
from mmseg_uda.experiments.grid import Experiment, Job, Row
from mmseg_uda.experiments.jobs import JobFolder, fingerprint
from mmseg_uda.files import write_text

Transform = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Options:
    """How jobs are to be trained.

    Attributes:
        profile: 'paper' or 'mini' (the miniworld).
        variant: '', 'startup' or 'debug'.
        work_dir: Parent of the experiments' folders.
        amp: Precision passed to the training, None for float32.
        cfg_options: ``key=value`` changes passed to the training.
        gpus_per_job: GPUs, or processes on a CPU, that share one training.
    """

    profile: Literal["paper", "mini"] = "paper"
    variant: Literal["", "startup", "debug"] = ""
    work_dir: Path = Path("work_dirs")
    amp: str | None = None
    cfg_options: tuple[str, ...] = ()
    gpus_per_job: int = 1

    def folder(self, experiment: Experiment) -> Path:
        """Returns the folder of an experiment, e.g. ``work_dirs/exp90-mini``."""
        name = f"exp{experiment.id}" if isinstance(experiment.id, int) else str(experiment.id)
        parts = [name, "mini" if self.profile == "mini" else "", self.variant]
        return self.work_dir / "-".join(part for part in parts if part)

    def transforms(self) -> list[Transform]:
        """Returns the config changes of profile and variant, in order."""
        chosen: list[Transform] = [profiles.mini] if self.profile == "mini" else []
        return (
            chosen
            + {
                "": [],
                "startup": [variants.startup],
                "debug": [variants.debug],
            }[self.variant]
        )

    def table(self, experiment: Experiment) -> Experiment:
        """Returns the experiment as this profile runs it: reference rows, seeds."""
        if self.profile == "mini":
            experiment = profiles.mini_experiment(experiment)
        if self.variant == "startup":
            experiment = replace(experiment, seeds=experiment.seeds[:1])
        return experiment


@dataclass(frozen=True)
class PlannedJob:
    """A job with the text of its config and what it resolves to.

    Attributes:
        job: The job.
        folder: Its folder.
        config_path: Its config file.
        text: Content of that file.
        resolved: The same as plain dicts, with its bases.
        effective: With the changes of ``--cfg-options``.
        fingerprint: Of ``effective``, of the jobs in ``needs`` and the options outside the config.
        needs: Names of the jobs whose results it reads.
    """

    job: Job
    folder: JobFolder
    config_path: Path
    text: str
    resolved: dict[str, Any]
    effective: dict[str, Any]
    fingerprint: str
    needs: tuple[str, ...] = ()

    @property
    def trains(self) -> bool:
        """Whether it is a training; else it aligns taxonomies (``tools/align.py``)."""
        return "alignment" not in self.resolved

    def write(self) -> None:
        """Writes the config file."""
        write_text(self.config_path, self.text)

    def task(self) -> Task:
        """Returns the executor's view of the job."""
        return Task(
            self.job, self.folder, self.config_path, self.fingerprint, self.needs, self.trains
        )


def file_experiment(path: str | Path) -> Experiment:
    """Returns a table with the single row 'train this config file'.

    Raises:
        UserError: When there is no such file, or its name is of no use.
    """
    path = find_config(path)
    name = run_name(path)
    row = Row(label=name, config=path.resolve(), name=name)
    return Experiment(
        id=name,
        paper="",
        table="",
        title=str(path),
        rows=(row,),
        seeds=(0,),
        metrics=("mIoU", "mIoU_16", "mIoU_13", "mIoU_new"),
    )


def plan(experiment: Experiment, jobs: Sequence[Job], options: Options) -> list[PlannedJob]:
    """Makes the config of every job, without writing anything.

    Raises:
        UserError: When a config cannot be read or an option does not fit it.
    """
    _check_names(jobs)
    folder = options.folder(experiment)
    changes = parse_options(options.cfg_options)
    extra: tuple[str, ...] = (f"amp={options.amp}",) if options.amp else ()
    if options.gpus_per_job > 1:
        extra += (f"gpus={options.gpus_per_job}",)
    needed = {label for row in experiment.rows for _, label, _ in row.inputs}
    planned: list[PlannedJob] = []
    for job in jobs:
        inputs = _inputs(experiment, job, planned)
        folders = {
            key: os.path.normpath(inputs[key].folder.path / below.format(name=inputs[key].job.name))
            for key, _, below in job.row.inputs
        }
        transforms = options.transforms()
        if options.variant == "startup" and job.row.label in needed:
            transforms.append(variants.keep_last)
        name = f"of {job.name}"
        given = {**folders, "randomness.seed": job.seed}
        resolved = change(job.row.resolved, given, name, "Row's input")
        for transform in transforms:
            resolved = transform(resolved)
        effective = change(resolved, changes, name, FLAG)
        # What made the inputs counts, not where they lie.
        marks = {key: one.fingerprint for key, one in inputs.items()}
        marked = change(effective, marks, name, FLAG)
        planned.append(
            PlannedJob(
                job,
                JobFolder(folder / job.name),
                folder / "configs" / f"{job.name}.py",
                render(resolved, _header(experiment, job)),
                resolved,
                effective,
                fingerprint(marked, extra),
                tuple(dict.fromkeys(one.job.name for one in inputs.values())),
            )
        )
    return planned


def _check_names(jobs: Sequence[Job]) -> None:
    """Refuses jobs that would share a folder.

    Raises:
        UserError: Names the rows.
    """
    found: dict[str, Job] = {}
    for job in jobs:
        other = found.setdefault(job.name, job)
        if other is not job:
            raise UserError(
                f"Rows {other.row_number} and {job.row_number} of experiment {job.experiment} give "
                f"one name to their jobs, {job.name}.",
                fix="What tells them apart has no place in a name: give one of them "
                "Row(name='...').",
            )


def _inputs(
    experiment: Experiment, job: Job, planned: Sequence[PlannedJob]
) -> dict[str, PlannedJob]:
    """The jobs that a job reads from, by config key; they are planned before it."""
    made = {(one.job.row_number, one.job.seed): one for one in planned}
    needed = experiment.needed(job.row_number)
    return {key: made[number, job.seed] for key, number in needed.items()}


def batch_note(planned: Sequence[PlannedJob], gpus_per_job: int) -> str:
    """Returns a warning if a step sees another number of images than the table's, '' if not.

    ``train_dataloader.batch_size`` counts the images of one domain on one GPU.
    """
    for one in (one for one in planned if one.trains):
        published = one.resolved["train_dataloader"]["batch_size"]
        batch = one.effective["train_dataloader"]["batch_size"]
        parts = (one.effective.get("optim_wrapper") or {}).get("accumulative_counts", 1)
        total = batch * gpus_per_job * parts
        if total == published:
            continue
        factors = [f"{gpus_per_job} GPUs" if gpus_per_job > 1 else "", f"{batch} images"]
        factors.append(f"{parts} accumulated batches" if parts > 1 else "")
        note = f"A step sees {' × '.join(filter(None, factors))} = {total} images per domain, "
        note += f"the published one {published}; numbers will differ."
        each = published / gpus_per_job
        if gpus_per_job > 1 and each == int(each) and batch != each:
            note += (
                f" For the published batch: --cfg-options train_dataloader.batch_size={each:.0f}"
            )
        return note
    return ""


def check_fingerprints(planned: Sequence[PlannedJob]) -> None:
    """Refuses folders that were made with another config.

    Raises:
        UserError: Names every such folder.
    """
    differing = [
        str(one.folder.path)
        for one in planned
        if one.folder.status().fingerprint not in (None, one.fingerprint)
    ]
    if differing:
        raise UserError(
            "These folders hold runs with another config:\n  " + "\n  ".join(differing),
            fix="Give another --work-dir, or --force to train them anew "
            "(the old folders are kept beside the new ones with the ending .old-N).",
        )


def _header(experiment: Experiment, job: Job) -> str:
    """What the top of a job's config says about its origin."""
    row = f"{experiment.paper} {experiment.table}, row {job.row_number}: {job.row.label}".strip()
    made = f"Made by run_experiments.py for {job.name}; do not edit."
    return "\n".join([row, made, *origin(job.row.config, job.row.changes)])
