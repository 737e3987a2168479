"""Writes a trained segmentor alone, for others to use."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import torch
from mmengine.config import Config

import mmseg_uda
from mmseg_uda.apis.segmentor import dataset_meta, network_of
from mmseg_uda.archives import seal
from mmseg_uda.engine.deployed import deployed_config
from mmseg_uda.errors import UserError
from mmseg_uda.files import replacing, write_text
from mmseg_uda.models.weights import load_segmentor_weights, meta_of, read_checkpoint

HASH_DIGITS = 8


def publish(
    checkpoint: str | Path,
    out: str | Path,
    *,
    part: str = "model",
    half: bool = False,
    config: str | Path | Config | None = None,
    write_config: bool = False,
) -> Path:
    """Writes the segmentor of a checkpoint alone, loadable by ``mmseg.apis.init_model``.

    The file holds ``state_dict`` in mmsegmentation's names and ``meta`` with ``dataset_meta``
    (classes, palette), ``cfg`` (text of a config that stands alone: network and test pipeline, no
    path of this machine), ``part``, ``iter`` and the version. Equal weights give equal files.
    LoRA's and SoMA's adapters are merged, so that the file holds a plain encoder; Rein's cannot be.

    Args:
        checkpoint: Checkpoint of this project, of mmsegmentation, or of a reference repository.
        out: File to write; as in OpenMMLab, the first digits of the file's SHA-256 are added to
            its name. A folder takes the checkpoint's name.
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
    content = read_checkpoint(checkpoint)
    cfg, model = network_of(config, content, checkpoint)
    load_segmentor_weights(model, content, part, checkpoint)
    deployed = deployed_config(cfg)
    if hasattr(model.decode_head, "top_down_levels"):  # which the checkpoint decides
        deployed.model.decode_head.top_down_levels = model.decode_head.top_down_levels
    if deployed.model.backbone.get("adapter") and model.backbone.merge_adapters():
        deployed.model.backbone.pop("adapter")
        deployed.model.backbone.pop("trainable")
    meta = {
        "dataset_meta": dataset_meta(cfg, content, model.num_classes),
        "cfg": deployed.pretty_text,
        "part": {"model": "student", "ema_model": "teacher"}[part],
        "iter": meta_of(content).get("iter"),
        "mmseg_uda_version": mmseg_uda.__version__,
    }
    state = dict(model.state_dict())
    if half:
        state = {name: _half(name, value) for name, value in state.items()}
    # Into memory first: an archive carries the name of its file, so a file's bytes would differ
    # from run to run, and with them the hash.
    buffer = io.BytesIO()
    torch.save({"meta": meta, "state_dict": state}, buffer)
    seal(buffer)
    digest = hashlib.sha256(buffer.getbuffer()).hexdigest()[:HASH_DIGITS]
    target = _target(out, Path(checkpoint), digest)
    try:
        with replacing(target) as temporary:
            temporary.write_bytes(buffer.getbuffer())
        if write_config:
            write_text(target.with_suffix(".py"), deployed.pretty_text)
    except OSError as error:
        raise UserError(
            f"{target} cannot be written: {error.strerror}.", fix="Give another place."
        ) from error
    return target


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


def _target(place: str | Path, checkpoint: Path, digest: str) -> Path:
    out = Path(place)
    # A path object has lost the slash that tells a folder which is not there yet.
    if out.is_dir() or str(place).endswith("/"):
        out = out / checkpoint.name
    return out.with_name(f"{out.name.removesuffix('.pth')}-{digest}.pth")
