"""The alignment that a config describes: what an experiment's table runs beside its trainings.

A config has ``alignment`` (see :class:`AlignmentSettings`), ``source`` (``config``, and
``checkpoint`` or the ``run`` that made it), ``data`` (``evaluate``, data set whose split is aligned
and scored, and ``train``, one that is aligned alone) and perhaps ``reuse`` (another such job, whose
records are taken where they fit).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_uda.apis.alignment.folder import AlignmentJob, align_folder
from mmseg_uda.apis.alignment.segmentor_source import SegmentorSource, source_of_checkpoint
from mmseg_uda.apis.alignment.settings import AlignmentSettings
from mmseg_uda.apis.image_files import ImageFile
from mmseg_uda.engine.checkpoint import newest_checkpoint
from mmseg_uda.errors import UserError
from mmseg_uda.files import write_json
from mmseg_uda.locks import training_in
from mmseg_uda.places import require_folder
from mmseg_uda.run_files import EVALUATIONS, PROGRESS
from mmseg_uda.taxonomy import DataLocation, missing_paths

PARTS = ("evaluate", "train")
IDLE = {
    "indices": "limit, or file_list in the data set",
    "taxonomy": "alignment.taxonomy, a map to the classes that labels have",
}
"""Options of a data set that say nothing to an alignment: what does."""
REUSED = ("propose", "predict", "score")


def run_alignment(config: Config, work_dir: str | Path, amp: str | None = None) -> dict[str, Any]:
    """Aligns what a config asks for, one folder of results per part of its data.

    Writes ``evaluations.json`` and ``progress.json`` as a training does. An interrupted job goes
    on where it stopped.

    Args:
        config: See the module.
        work_dir: Results are in its subfolders ``evaluate`` and ``train``.
        amp: Precision of the segmenter.

    Returns:
        The summaries by part.

    Raises:
        UserError: The config is incomplete, something is missing, or images have failed.
    """
    work_dir = Path(work_dir)
    if config.get("alignment") is None:
        raise UserError(
            f"{config.filename} has no 'alignment'.",
            fix="Trainings are run by tools/train.py; alignments are in configs/dynalign.",
        )
    settings = AlignmentSettings.create(config.alignment.to_dict(), str(config.filename))
    parts = {name: config.data[name] for name in PARTS if (config.get("data") or {}).get(name)}
    if not parts or config.get("source") is None:
        raise UserError(
            f"{config.filename}: an alignment needs 'source' and 'data'.",
            fix="See configs/dynalign.",
        )
    _check_options(parts)
    _require_data(parts)
    require_folder(work_dir)
    with training_in(work_dir):
        return _run(config, settings, work_dir, parts, amp)


def _run(
    config: Config,
    settings: AlignmentSettings,
    work_dir: Path,
    parts: Mapping[str, Any],
    amp: str | None,
) -> dict[str, Any]:
    source = _source(config.source, settings, amp)
    summaries, images, start = {}, 0, time.time()
    for name, data in parts.items():
        location = DataLocation.create(**_needed(name, data))
        out = work_dir / name
        if config.get("reuse"):
            reuse_records(Path(config.reuse) / name, out)
        job = AlignmentJob(
            inputs=(),
            out=out,
            files=[
                ImageFile(location.image_folder / image, os.path.splitext(image)[0])
                for image in location.images()
            ],
            labels=location.label_folder if name == "evaluate" else None,
            label_ids=data.get("label_map"),
            label_endings=(_as_png(location.img_suffix), location.label_suffix),
            eval_ids=config.get("eval_ids"),
            workers=config.get("workers", 2),
            limit=config.get("limit"),
            pictures=config.get("pictures", False),
        )
        summaries[name] = align_folder(job, source, settings)
        images += summaries[name]["images"]
    seconds = time.time() - start
    if "evaluate" in summaries:
        scores = summaries["evaluate"].get("scores")
        if scores is None:
            first = summaries["evaluate"]["failures"][0]
            raise UserError(
                f"None of {images} images could be aligned. {first['image']} failed in "
                f"{first['stage']}: {first['error']}"
            )
        write_json(work_dir / EVALUATIONS, [{"iter": images, **scores}])
    progress = {"iter": images, "max_iters": images, "seconds_per_iter": seconds / max(images, 1)}
    write_json(work_dir / PROGRESS, {**progress, "eta_seconds": 0.0, "time": time.time()})
    return summaries


def _as_png(suffix: str) -> str:
    return f"{suffix[: suffix.rfind('.')]}.png"


def _check_options(parts: Mapping[str, Any]) -> None:
    for name, data in parts.items():
        idle = [option for option in IDLE if data.get(option) is not None]
        if idle:
            raise UserError(
                f"data.{name}.{idle[0]} has no effect in an alignment.", fix=f"Use {IDLE[idle[0]]}."
            )


def _needed(part: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The data set of a part; only what is evaluated needs labels."""
    return {**data, "images_only": part != "evaluate"}


def _require_data(parts: Mapping[str, Any]) -> None:
    fixes: dict[str, list[str]] = {}
    for name, data in parts.items():
        for path in missing_paths(_needed(name, data)):
            fixes.setdefault(path.fix, []).append(f"{path.dataset}: {path.path} is missing.")
    if fixes:
        lines = dict.fromkeys(line for found in fixes.values() for line in found)
        raise UserError("\n".join(lines), fix="\n  Fix: ".join(fixes))


def reuse_records(other: Path, out: Path) -> None:
    """Takes over records of the early stages of another run; each is used only if it fits.

    Files are linked, not copied, where the file system can: a run replaces its records, it never
    changes one in place.

    Args:
        other: Results of a run over the same images.
        out: Results of this one.
    """
    for stage in REUSED:
        for path in sorted((other / stage).rglob("*.npz")):
            place = out / stage / path.relative_to(other / stage)
            if place.exists():
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, place)
            except OSError:
                shutil.copyfile(path, place)


def _source(
    given: Mapping[str, Any], settings: AlignmentSettings, amp: str | None
) -> SegmentorSource:
    options = dict(given)
    run = options.pop("run", None)
    if run is not None:
        options["checkpoint"] = newest_checkpoint(run)
    if not options.get("config") or not options.get("checkpoint"):
        raise UserError(
            "The alignment's source has no config or no checkpoint.",
            fix="Set source.config, and source.checkpoint or source.run.",
        )
    return source_of_checkpoint(
        options.pop("config"), options.pop("checkpoint"), device=settings.device, amp=amp, **options
    )
