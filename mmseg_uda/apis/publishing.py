"""Writes a trained segmentor alone, for others to use."""

from __future__ import annotations

import hashlib
import io
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

import mmseg_uda
from mmseg_uda.apis.segmentor import dataset_meta, network_of
from mmseg_uda.apis.training_facts import unwrapped
from mmseg_uda.archives import seal
from mmseg_uda.engine.checkpoint import newest_checkpoint, run_folder
from mmseg_uda.engine.deployed import deployed_config, stored_config
from mmseg_uda.errors import UserError
from mmseg_uda.files import replacing, write_text
from mmseg_uda.models.weights import (
    is_published,
    load_segmentor_weights,
    meta_of,
    read_checkpoint,
)
from mmseg_uda.protocol import AVERAGE, STUDENT, TEACHER, part_name

HASH_DIGITS = 8
LONGEST_NAME = 200


@dataclass(frozen=True)
class Trained:
    """A segmentor taken out of a checkpoint.

    Attributes:
        run: Name of its training.
        folder: Of the training; None where the checkpoint lies elsewhere.
        model: The segmentor, filled, with ``cfg`` and ``dataset_meta``.
        config: Of the network and the test pipeline; stands alone.
        training: What the checkpoint says of its training, parsed and never built; else the
            config that was given.
        meta: Plain values for a file's header.
    """

    run: str
    folder: Path | None
    model: Any
    config: Config
    training: Config
    meta: dict[str, Any]


def publish(
    checkpoint: str | Path,
    out: str | Path,
    *,
    part: str = "model",
    half: bool = False,
    config: str | Path | Config | None = None,
    write_config: bool = False,
) -> Path:
    """Writes the segmentor of a checkpoint as one file, loadable by ``mmseg.apis.init_model``.

    The file holds ``state_dict`` in mmsegmentation's names and ``meta`` with ``dataset_meta``
    (classes, palette), ``cfg`` (text of a config that stands alone: network and test pipeline, no
    path of this machine), ``part``, ``iter`` and the version. Equal weights give equal files.
    LoRA's and SoMA's adapters are merged, so that the file holds a plain encoder; Rein's cannot be.

    Args:
        checkpoint: Checkpoint of this project, of mmsegmentation, or of a reference repository; or
            a training's folder, of which the newest is taken.
        out: File to write; as in OpenMMLab, the first digits of the file's SHA-256 are added to
            its name. A folder takes the name of the training.
        part: ``'model'`` for the student, ``'ema_model'`` for the teacher.
        half: Store float16; networks load it as float32.
        config: Config of the network; None takes the one that the checkpoint carries, without its
            imports (see :func:`~mmseg_uda.apis.init_segmentor`).
        write_config: Also write the config that stands alone, beside the file.

    Returns:
        The file that was written.

    Raises:
        UserError: The checkpoint is damaged or incomplete, carries no config, or holds values
            beyond float16.
    """
    trained = take_out(checkpoint, part, config)
    text = trained.config.pretty_text
    meta = {**trained.meta, "dataset_meta": trained.model.dataset_meta, "cfg": text}
    state = stored(trained.model.state_dict(), half)
    # Into memory first: an archive carries the name of its file, so a file's bytes would differ
    # from run to run, and with them the hash.
    buffer = io.BytesIO()
    torch.save({"meta": meta, "state_dict": state}, buffer)
    seal(buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()[:HASH_DIGITS]
    target = _target(out, trained.run, digest)
    try:
        with replacing(target) as temporary:
            temporary.write_bytes(buffer.getbuffer())
        if write_config:
            write_text(target.with_suffix(".py"), text)
    except OSError as error:
        raise UserError(
            f"{target} cannot be written: {error.strerror}.", fix="Give another place."
        ) from error
    return target


def take_out(
    checkpoint: str | Path,
    part: str = "model",
    config: str | Path | Config | None = None,
    merge: bool = True,
) -> Trained:
    """Builds and fills the segmentor of a checkpoint.

    Args:
        checkpoint: See :func:`publish`.
        part: See :func:`publish`.
        config: See :func:`publish`.
        merge: Put LoRA's and SoMA's adapters into the encoder.

    Raises:
        UserError: See :func:`publish`.
    """
    if Path(checkpoint).is_dir() and not is_published(checkpoint):
        checkpoint = newest_checkpoint(checkpoint)
    content = read_checkpoint(checkpoint)
    cfg, model = network_of(config, content, checkpoint)
    load_segmentor_weights(model, content, part, checkpoint)
    deployed = deployed_config(cfg)
    if hasattr(model.decode_head, "top_down_levels"):  # which the checkpoint decides
        deployed.model.decode_head.top_down_levels = model.decode_head.top_down_levels
    if merge and deployed.model.backbone.get("adapter") and model.backbone.merge_adapters():
        deployed.model.backbone.pop("adapter")
        deployed.model.backbone.pop("trainable")
    training = _training(content, cfg, checkpoint)
    run = run_of(checkpoint, training, meta_of(content))
    beside, stored_part = run_folder(checkpoint), meta_of(content).get("part")
    if stored_part not in (STUDENT, TEACHER, AVERAGE):
        stored_part = part_name(unwrapped(training.to_dict()), part)
    meta = {
        "run": run,
        "part": stored_part,
        "iter": meta_of(content).get("iter"),
        "mmseg_uda_version": mmseg_uda.__version__,
    }
    model.cfg = cfg
    model.dataset_meta = dataset_meta(cfg, content, model.num_classes, checkpoint)
    folder = None if beside is None else Path(beside)
    return Trained(run, folder, model, deployed, training, meta)


def run_of(checkpoint: str | Path, training: Config, meta: Any) -> str:
    """Returns the name of the training that wrote a checkpoint, fit for a file's name.

    That of the folder in which it lies beside the training's other files; else the one that it
    carries; else its own.
    """
    folder, work_dir = run_folder(checkpoint), training.get("work_dir")
    if isinstance(meta.get("run"), str):
        name = meta["run"]
    elif folder is not None:
        name = Path(folder).resolve().name
    else:
        name = Path(work_dir).name if isinstance(work_dir, str) else ""
    name = re.sub(r"[^\w.+-]", "_", name or Path(checkpoint).stem)[:LONGEST_NAME]
    return name.lstrip(".-") or "model"


def stored(state: dict[str, torch.Tensor], half: bool) -> dict[str, torch.Tensor]:
    """Returns tensors as they are written: with ``half`` in float16.

    Raises:
        UserError: A value is beyond float16.
    """
    return {name: _half(name, value) for name, value in state.items()} if half else dict(state)


def _training(content: dict[str, Any], cfg: Config, source: str | Path) -> Config:
    try:
        carried = stored_config(content, source)
    except UserError as error:  # the given config describes the network, and nothing else counts
        print_log(str(error), logger="current", level=logging.WARNING)
        carried = None
    return cfg if carried is None else carried


def _half(name: str, value: torch.Tensor) -> torch.Tensor:
    if not value.is_floating_point():
        return value
    half = value.half()
    if not torch.equal(half.isfinite(), value.isfinite()):
        raise UserError(
            f"{name} holds values that float16 cannot represent (up to {value.abs().max():.3g}).",
            fix="Publish without --half.",
        )
    return half


def _target(place: str | Path, run: str, digest: str) -> Path:
    out = Path(place)
    # A path object has lost the slash that tells a folder which is not there yet.
    if out.is_dir() or str(place).endswith("/"):
        out = out / run
    return out.with_name(f"{out.name.removesuffix('.pth')}-{digest}.pth")
