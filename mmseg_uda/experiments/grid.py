"""Experiments as data: settings, rows, tables and the jobs they expand to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mmseg_uda.cli import run_name
from mmseg_uda.errors import UserError

OFF = (-1, -1)
"""A range of iterations that never comes: the phase is switched off."""


@dataclass(frozen=True)
class Masking:
    """Masked image consistency (MIC, Sec. 3.2) in the words of the lineage's tables.

    Attributes:
        mode: What is masked: target, source or one image of each, with or without colour
            augmentation (``separatetrgaug``, ``separatetrg``, ``separatesrc``, ...).
        ratio: Share of blanked patches.
        block: Side of a patch in pixels.
        weight: Weight of the masked loss.
        alpha: EMA factor of an own teacher, or 'same' to share the host's.
        threshold: Confidence threshold of the own teacher, None for weight 1, or 'same'.
    """

    mode: str
    ratio: float = 0.7
    block: int = 64
    weight: float = 1
    alpha: float | Literal["same"] = "same"
    threshold: float | None | Literal["same"] = "same"


@dataclass(frozen=True)
class Pair:
    """One entry of CSI's relabelling map.

    Attributes:
        target: The class that the source data lack.
        source: The class that covers it in the source, or None to discover it.
        box_score: Lowest score of a detected box.
        crop_score: Lowest confidence of the crop classifier, None to skip it.
    """

    target: str
    source: str | None
    box_score: float
    crop_score: float | None


@dataclass(frozen=True)
class Relabelling:
    """CSI: iterations of its two phases, [start, end), and the relabelling map."""

    relabel: tuple[int, int] = OFF
    collect: tuple[int, int] = OFF
    pairs: tuple[Pair, ...] = ()

    @property
    def active(self) -> bool:
        """Whether relabelling ever starts."""
        return self.relabel[0] >= 0


@dataclass(frozen=True)
class DepthMatching:
    """CDDA's settings.

    Attributes:
        bank: Folder of the bank of source crops.
        count: Crops in it.
        reweight: Score above which pseudo-labels are reweighted and source images replaced.
        relabel: Score above which missing classes guide.
        decay: Taken off both at each decrement.
        uses: What a match is used for.
        mask: Pixels that are reweighted: 'class', or 'first_row' as the released code does.
        trigger: Of the guidance: 'any', or 'last' as the released code does.
    """

    bank: str
    count: int
    reweight: float
    relabel: float
    decay: float
    uses: tuple[Literal["reweight", "replace_source", "guidance"], ...] = (
        "reweight",
        "replace_source",
        "guidance",
    )
    mask: Literal["class", "first_row"] = "class"
    trigger: Literal["any", "last"] = "any"


@dataclass(frozen=True)
class Setup:
    """Everything that tells one training from another; name and config derive from it.

    The defaults are those of the lineage's generator of experiments.

    Attributes:
        source: Source data set with its resolution suffix, e.g. 'synthiaHR'; '' for target-only.
        target: Target data set.
        crop: Training crop '{height}x{width}'.
        uda: 'source-only', 'target-only' or the self-training base (a file of
            ``configs/_base_/uda``).
        architecture: Decoder, with an optional ``hrda1-{crop}-{weight}[-option...]_`` prefix.
        backbone: 'mitb5', 'r101v1c', ...
        rcs_temperature: Temperature of rare class sampling, None to sample uniformly.
        rcs_min_crop: Share of the pixel threshold that a crop must show of the drawn class.
        sync_crop: Joint crop (height, width) inside the outer crop.
        margins: Excluded borders of pseudo-labels, 'v1' (rows of the crop) or 'v2' (native pixels).
        masking: MIC's settings.
        relabelling: CSI's settings; None leaves CSI's part out of the name.
        subdomains: Options of SSDA's component (``uda.subdomains``) that differ from those of the
            self-training base, by dotted name.
        depth: CDDA's settings.
        inference: 'whole' or 'slide'.
        schedule: Learning-rate schedule of the name.
        recipe: 'core' = DAFormer's curve and a loss averaged over all pixels; 'csi' = CSI's curve
            and a loss averaged over the non-ignored pixels.
        optimizer: 'adamw' or 'sgd'.
        lr: Base learning rate.
        pmult: Whether the head learns ten times faster.
        iterations: Optimizer steps.
        batch_size: Source images (and target images) per step.
        evaluations: Validations per run.
        save_best: Whether the weights of the best validation are kept beside the last.
        seed: Seed of the run; None leaves it out of the name.
    """

    source: str = "gta"
    target: str = "cityscapes"
    crop: str = "512x512"
    uda: str = "dacs"
    architecture: str = "daformer_sepaspp"
    backbone: str = "mitb5"
    rcs_temperature: float | None = None
    rcs_min_crop: float = 0.5
    sync_crop: tuple[int, int] | None = None
    margins: Literal["v1", "v2"] | None = None
    masking: Masking | None = None
    relabelling: Relabelling | None = None
    subdomains: tuple[tuple[str, str | float | bool], ...] = ()
    depth: DepthMatching | None = None
    inference: Literal["whole", "slide"] = "whole"
    schedule: str = "poly10warm"
    recipe: Literal["core", "csi"] = "core"
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 6e-5
    pmult: bool = True
    iterations: int = 40000
    batch_size: int = 2
    evaluations: int = 10
    save_best: bool = False
    seed: int | None = 0


@dataclass(frozen=True)
class Reported:
    """A number from a paper beside which ours stands.

    Attributes:
        values: Percent by metric name ('mIoU', 'mIoU_16', 'IoU.road', ...).
        origin: Where it is from; numbers that were computed say so.
    """

    values: Mapping[str, float]
    origin: str


@dataclass(frozen=True)
class Row:
    """One row of a paper's table.

    Attributes:
        label: What the table calls it.
        setup: The training of the row (its seed is set by the experiment).
        reported: Published or derived numbers, None where unknown.
        note: What the reader of the table should know.
        counts: False for a reference row, which is no job of the paper's table.
        config_file: Train this file instead of a config made from ``setup``.
        changes: What is changed in it, by dotted name.
        tag: What tells the changed file's jobs from those of the file itself, in their names.
        inputs: What its config takes from another row's job with the same seed, which runs first:
            dotted name of the key, label of the row, and the path below that job's folder.
        metrics: The table's columns that mean something for this row; None for all of them.
    """

    label: str
    setup: Setup
    reported: Reported | None = None
    note: str = ""
    counts: bool = True
    config_file: Path | None = None
    changes: tuple[tuple[str, Any], ...] = ()
    tag: str = ""
    inputs: tuple[tuple[str, str, str], ...] = ()
    metrics: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Job:
    """One training, or one alignment of taxonomies: a row with one seed."""

    experiment: int | str
    row_number: int
    row: Row
    setup: Setup
    name: str


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
    """

    id: int | str
    paper: str
    table: str
    title: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    metrics: tuple[str, ...] = ("mIoU",)
    notes: tuple[str, ...] = field(default=())

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
            make_job(self.id, number, self.rows[number - 1], seed)
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


def make_job(experiment: int | str, number: int, row: Row, seed: int) -> Job:
    """Returns the job of one row and seed."""
    from mmseg_uda.experiments.naming import job_name

    setup = replace(row.setup, seed=seed)
    if row.config_file is None:
        name = job_name(setup)
    else:
        name = "_".join(filter(None, (run_name(row.config_file), row.tag, f"s{seed}")))
    return Job(experiment, number, row, setup, name)


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
