"""Writes a trained segmentor as a folder that others load by its name, here or from the hub."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from mmseg_uda.apis.model_card import Description, card_text
from mmseg_uda.apis.publishing import Trained, stored, take_out
from mmseg_uda.apis.segmentor import taxonomy_of
from mmseg_uda.apis.training_facts import Facts, evaluation_at, facts_of
from mmseg_uda.errors import UserError
from mmseg_uda.files import temporary_prefix, write_json, write_text
from mmseg_uda.models.weights.frozen_base import without_base
from mmseg_uda.models.weights.published import (
    ADAPTERS,
    CONFIG,
    TAXONOMY,
    WEIGHTS,
    is_published,
    write_weights,
)
from mmseg_uda.places import require_folder
from mmseg_uda.protocol import STUDENT
from mmseg_uda.run_files import is_number
from mmseg_uda.taxonomy import taxonomy_from, taxonomy_text

METRICS, CARD = "metrics.json", "README.md"


def publish_folder(
    checkpoint: str | Path,
    out: str | Path,
    *,
    part: str = "model",
    half: bool = False,
    config: str | Path | Config | None = None,
    adapters_only: bool = False,
    overwrite: bool = False,
    repository: str | None = None,
) -> Path:
    """Writes the segmentor of a checkpoint as a folder named after its training.

    ``init_segmentor`` loads it, from here or from the Hugging Face hub: ``model.safetensors``,
    ``config.py`` (network and test pipeline, read as data), ``taxonomy.yaml``, ``metrics.json``
    (the training's validation at this step) and the model card ``README.md``. Equal weights give
    equal files of weights. LoRA's and SoMA's adapters are merged, Rein's cannot be.

    Args:
        checkpoint: See :func:`~mmseg_uda.apis.publish`.
        out: Folder in which the folder is made.
        part: ``'model'`` for the student, ``'ema_model'`` for the teacher, or the average of
            ``uda.ema`` (``-teacher`` or ``-average`` joins the name).
        half: Store float16 (``-half`` joins the name); networks load it as float32.
        config: See :func:`~mmseg_uda.apis.publish`.
        adapters_only: Leave the frozen encoder out (``-adapters`` joins the name): what was
            trained is written as ``adapters.safetensors``, with name and fingerprint of the rest.
        overwrite: Replace a folder that is there already.
        repository: 'owner/name' on the hub, if it will be sent there; the card names it.

    Returns:
        The folder that was written.

    Raises:
        UserError: The checkpoint is damaged or incomplete, carries no config, holds values beyond
            float16, or has no adapters; or the folder is there already or cannot be written.
    """
    trained = take_out(checkpoint, part, config, merge=not adapters_only)
    network = trained.meta["part"]
    marks = {
        f"-{network.split()[0]}": network != STUDENT,
        "-half": half,
        "-adapters": adapters_only,
    }
    name = trained.run + "".join(mark for mark, given in marks.items() if given)
    target = Path(out) / name
    _require_place(target, overwrite)
    facts = facts_of(trained.training, trained.config)
    weights, base = trained.model.state_dict(), None
    if adapters_only:
        weights, base = without_base(trained.model, facts.encoder, checkpoint)
    weights = stored(weights, half)
    taxonomy = taxonomy_of(trained.model) or taxonomy_from(name, **trained.model.dataset_meta)
    metrics = _metrics(trained, facts)
    files = {
        ADAPTERS if adapters_only else WEIGHTS: "the weights",
        CONFIG: "network and test pipeline, in mmsegmentation's words",
        TAXONOMY: "classes",
        METRICS: "results of the training's validation",
    }
    description = Description(
        name=name,
        part=trained.meta["part"],
        step=trained.meta["iter"],
        facts=facts,
        taxonomy=taxonomy,
        metrics=metrics,
        parameters=sum(p.numel() for p in trained.model.parameters()),
        encoder=trained.model.backbone,
        files=files,
        base=None if base is None else base["name"],
        place=name if repository is None else f"hf://{repository}",
        half=half,
    )
    require_folder(out)
    aside = Path(tempfile.mkdtemp(dir=out, prefix=temporary_prefix(name)))
    made = aside / name
    try:
        made.mkdir()
        write_weights(made / next(iter(files)), weights, _header(trained, base))
        write_text(made / CONFIG, trained.config.pretty_text)
        write_text(made / TAXONOMY, taxonomy_text(taxonomy))
        write_json(made / METRICS, metrics)
        write_text(made / CARD, card_text(description))
        if target.exists():
            target.rename(aside / "replaced")
        made.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _require_place(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir() or not is_published(target):
        raise UserError(f"{target} is something else.", fix="Give another folder.")
    if not overwrite:
        raise UserError(
            f"{target} is there already.",
            fix="Give --overwrite to replace it, or another folder. To send it as it is: "
            f"python tools/publish.py {target} --push-to-hub OWNER/NAME.",
        )


def _header(trained: Trained, base: dict[str, str] | None) -> dict[str, Any]:
    given = {**trained.meta, **({} if base is None else {"base": base})}
    return {key: value for key, value in given.items() if value is not None}


def _metrics(trained: Trained, facts: Facts) -> dict[str, Any]:
    """The training's own validation of these weights, or why there is none."""
    step, part = trained.meta["iter"], trained.meta["part"]
    found = evaluation_at(trained.folder, step)
    note = ""
    if not found:
        note = "No validation of these weights is recorded beside the checkpoint."
    elif part != facts.measured:
        found, note = {}, f"The training's validations measure the {facts.measured}."
        print_log(f"{note} This is the {part}.", logger="current", level=logging.WARNING)
    elif facts.steps is not None and step < facts.steps:
        note = f"Interim numbers: step {step} of {facts.steps}."
    return {
        "run": trained.run,
        "network": part,
        "iter": step,
        "max_iters": facts.steps,
        "data": facts.evaluated,
        "protocol": facts.protocol,
        "note": note,
        "metrics": {k: value for k, value in found.items() if k != "iter" and is_number(value)},
        "IoU": found.get("IoU", {}),
    }
