"""Aligns images and folders of images: the pipeline with everything around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg_uda.apis.alignment.pictures import Visualize
from mmseg_uda.apis.alignment.settings import AlignmentSettings
from mmseg_uda.apis.image_files import ImageFile, find_images
from mmseg_uda.errors import UserError
from mmseg_uda.evaluation import ClassSets, evaluate_folder
from mmseg_uda.evaluation.label_folders import ENDINGS
from mmseg_uda.files import write_json
from mmseg_uda.inspection import wrong_release
from mmseg_uda.methods.dynalign import (
    Outputs,
    Pipeline,
    Run,
    SourcePredictor,
    label_folder,
    read_label_map,
    shard,
)
from mmseg_uda.methods.dynalign.outputs import CONFIDENCE, LABELS
from mmseg_uda.places import require_folder

RECORDS = ("propose", "predict", "score", "relabel")
STAGES = (*RECORDS, "visualize", "evaluate")
EVALUATION = "evaluation.json"


@dataclass(frozen=True)
class AlignmentJob:
    """Which images are aligned, what is written, and how the work is shared.

    Attributes:
        inputs: Images, and folders of images.
        out: Folder of all results.
        files: The images, in place of ``inputs``.
        stages: Which of ``STAGES``, None for those that the other attributes ask for.
        kinds: See :class:`~mmseg_uda.methods.dynalign.Outputs`.
        image_files: As ``kinds``.
        pictures: Write ``visualization``.
        pages: Write ``inspection``.
        labels: Folder of target labels to evaluate against.
        label_ids: What its files hold: the name of ids (``raw_ids`` of the target taxonomy) or
            another label map; None for the target's own.
        label_endings: What follows an image's name in a label map, and in its label file; None
            tries those of published data sets.
        eval_ids: Evaluated classes by name or id; None takes the taxonomy map's, ``[]`` all.
        limit: Take the first images only.
        share: Rank and number of shares.
        choose: Takes a part of the images instead, in place of ``share``.
        workers: Threads that read ahead.
        overwrite: Do everything anew.
        strict: Results of other settings are an error.
    """

    inputs: Sequence[str | Path]
    out: str | Path
    files: Sequence[ImageFile] | None = None
    stages: Sequence[str] | None = None
    kinds: Sequence[str] = (LABELS, CONFIDENCE)
    image_files: str = "link"
    pictures: bool = False
    pages: bool = False
    labels: str | Path | None = None
    label_ids: str | Mapping[int, int] | None = None
    label_endings: tuple[str, str] | None = None
    eval_ids: Sequence[int | str] | None = None
    limit: int | None = None
    share: tuple[int, int] = (0, 1)
    choose: Callable[[Sequence[ImageFile]], list[ImageFile]] | None = None
    workers: int = 2
    overwrite: bool = False
    strict: bool = False


def align_folder(
    job: AlignmentJob, source: SourcePredictor | None, settings: AlignmentSettings
) -> dict[str, Any]:
    """Aligns files and writes the results, with progress bars; continues an interrupted run.

    Args:
        job: What to do.
        source: Predictions in the source taxonomy.
        settings: What the alignment is made of.

    Returns:
        The summary that ``summary.json`` holds; with ``scores`` where labels are given.

    Raises:
        UserError: Something that every image needs is missing or wrong. Images that fail are in
            the summary and in ``failures.jsonl``.
    """
    stages = _stages(job)
    out = require_folder(job.out)
    images = find_images(job.inputs, out) if job.files is None else list(job.files)
    images = images[: job.limit]
    items = shard(images, *job.share) if job.choose is None else job.choose(images)
    engine = settings.build_engine(out / "text")
    taxonomy = engine.taxonomy
    if "evaluate" in stages and job.labels is not None:  # told at the end, it would be hours late
        misread = wrong_release(Path(job.labels), taxonomy.target, job.label_ids)
        if misread is not None:
            raise misread
    outputs = Outputs(out, taxonomy.target_classes, taxonomy.palette, job.kinds, job.image_files)
    run = Run(out, engine.options, settings.build_proposer(), source, engine, outputs)
    pipeline = Pipeline(run, items, job.share, job.workers, job.overwrite, job.strict)
    chosen = [stage for name, stage in run.stages.items() if name in stages]
    if "visualize" in stages:
        chosen.append(Visualize(run, job.pages))
    summary = pipeline(chosen)
    if "evaluate" in stages:
        failed = {failure.name for failure in pipeline.failures}
        names = [item.name for item in items if item.name not in failed]
        if names or not failed:  # where all have failed, that is what has to be told
            summary["scores"] = _evaluate(job, settings, run, names)
    return summary


def _stages(job: AlignmentJob) -> list[str]:
    asked = {"visualize": job.pictures or job.pages, "evaluate": job.labels is not None}
    if job.stages is None:
        stages = [*RECORDS, *(name for name, wanted in asked.items() if wanted)]
    else:
        stages = list(job.stages)
        for name, wanted in asked.items():
            if wanted and name not in stages:
                raise UserError(
                    f"What was asked for belongs to the stage {name!r}, which is not among the "
                    f"given ones: {', '.join(stages)}.",
                    fix=f"Add {name} to --stages, or leave --stages out.",
                )
    unknown = [name for name in stages if name not in STAGES]
    if unknown:
        raise UserError(
            f"There is no stage {unknown[0]!r}.", fix=f"Give one of {', '.join(STAGES)}."
        )
    if "evaluate" in stages:
        if job.labels is None:
            raise UserError("There are no labels to evaluate against.", fix="Give --labels DIR.")
        if job.share[1] > 1 and job.stages is None:
            raise UserError(
                "A share of the images is no evaluation.",
                fix="Leave --labels out; afterwards: the same command with --labels and --stages "
                "evaluate, without shares.",
            )
    return stages


def _evaluate(
    job: AlignmentJob, settings: AlignmentSettings, run: Run, names: Sequence[str]
) -> dict[str, Any]:
    taxonomy = run.engine.taxonomy
    assert job.labels is not None
    found = evaluate_folder(
        label_folder(run.out),
        job.labels,
        ClassSets.create(taxonomy, job.eval_ids),
        taxonomy.ignore_index,
        names,
        None if job.label_ids is None else taxonomy.target.lookup(job.label_ids),
        job.workers,
        read_label_map,
        ENDINGS if job.label_endings is None else (job.label_endings,),
    )
    scores = found.as_json()
    write_json(run.out / EVALUATION, {"taxonomy": taxonomy.name, **scores})
    return scores
