"""Loading whole segmentors from any checkpoint of ours, of the lineage or of mmseg."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import nn

from mmseg_uda.errors import UserError
from mmseg_uda.models.heads.mask2former import TorchMask2FormerHead
from mmseg_uda.models.weights.files import (
    atomic_save,
    coverage_problems,
    describe_problems,
    meta_of,
    state_dict_of,
)
from mmseg_uda.models.weights.finite import require_finite
from mmseg_uda.models.weights.frozen_base import with_base
from mmseg_uda.models.weights.published import read_checkpoint
from mmseg_uda.models.weights.reference_names import from_reference_names, to_reference_names
from mmseg_uda.models.weights.srha_names import check_srha_command, from_srha_names
from mmseg_uda.models.weights.vit_names import from_vfm_uda_names

PARTS = ("model", "ema_model")
ITS_CONFIG = "Use the config that the checkpoint was trained with."


def load_segmentor_weights(
    segmentor: nn.Module,
    checkpoint: str | Path | Mapping[str, Any],
    part: str = "model",
    source: str | Path = "the checkpoint",
    adapt: bool = True,
    fix: str | None = None,
) -> None:
    """Fills a segmentor completely, or raises.

    Takes our checkpoints and the lineage's (student under ``model.``, teacher under
    ``ema_model.``), in mmseg's or in the published encoder names, SRHA's, RobustNet's, VFM-UDA's
    and plain mmseg ones. Auxiliary heads in the file are ignored when the segmentor has none.

    Args:
        segmentor: The network to fill.
        checkpoint: A file, or its content.
        part: ``'model'`` for the student, ``'ema_model'`` for the teacher.
        source: Where a content came from, for messages.
        adapt: Give a Mask2Former as many top-down levels as the file has. Its parameters are then
            new ones, so an optimizer that holds the old ones forbids it.
        fix: What to do if they do not fit together; None: use the config of its training.

    Raises:
        UserError: The file is unreadable, lacks the part, or belongs to another network.
    """
    name = source if isinstance(checkpoint, Mapping) else checkpoint
    weights = segmentor_weights(segmentor, checkpoint, part, source)
    _fit_top_down_levels(segmentor, weights, name, adapt)
    fill_segmentor(segmentor, weights, name, fix or ITS_CONFIG)


def segmentor_weights(
    segmentor: nn.Module,
    checkpoint: str | Path | Mapping[str, Any],
    part: str = "model",
    source: str | Path = "the checkpoint",
) -> dict[str, torch.Tensor]:
    """The weights of one network of a checkpoint, under a segmentor's names; shapes may differ.

    Args and errors: those of :func:`load_segmentor_weights`.
    """
    if part not in PARTS:
        raise UserError(
            f"there is no part {part!r} in a checkpoint.", fix="'model' or 'ema_model'."
        )
    if isinstance(checkpoint, Mapping):
        source, content = str(source), dict(checkpoint)
    else:
        source, content = str(checkpoint), read_checkpoint(checkpoint)
    check_srha_command(segmentor, content, source)
    weights = state_dict_of(content, source)
    selected = {
        name.removeprefix(f"{part}."): value
        for name, value in weights.items()
        if name.startswith(f"{part}.")
    }
    if not selected:
        selected = from_vfm_uda_names(weights, part)
    if not selected:
        if part != "model":
            raise UserError(
                f"{source} holds no teacher.", fix="Evaluate the student, part='model'."
            )
        selected = weights
    selected = from_reference_names(segmentor, selected)
    selected = from_srha_names(segmentor, selected, source)
    if not getattr(segmentor, "with_auxiliary_head", False):
        selected = {
            name: value
            for name, value in selected.items()
            if not name.startswith("auxiliary_head.")
        }
    base = meta_of(content).get("base")
    if isinstance(base, Mapping):  # adapters alone
        selected = with_base(segmentor, selected, base, source)
    return selected


def fill_segmentor(
    segmentor: nn.Module,
    weights: Mapping[str, torch.Tensor],
    source: str | Path,
    fix: str = ITS_CONFIG,
) -> None:
    """Loads weights that cover a segmentor exactly, or raises.

    Raises:
        UserError: They belong to another network, or some are NaN or infinite.
    """
    expected = segmentor.state_dict()
    problems = coverage_problems(expected, weights)
    if any(problems.values()):
        raise UserError(
            f"{source} is a checkpoint of another network:\n  {describe_problems(problems)}",
            fix=fix,
        )
    require_finite(weights, source)
    segmentor.load_state_dict({**expected, **weights})


def _fit_top_down_levels(
    segmentor: nn.Module, weights: Mapping[str, torch.Tensor], source: str | Path, adapt: bool
) -> None:
    """SRHA's released Mask2Former has three top-down levels, Mask2Former's one."""
    head = getattr(segmentor, "decode_head", None)
    if not isinstance(head, TorchMask2FormerHead):
        return
    prefix = "decode_head.pixel_decoder.adapter_"
    levels = len({name[len(prefix) :].split(".")[0] for name in weights if name.startswith(prefix)})
    if levels in (0, head.top_down_levels):
        return
    if not adapt:
        raise UserError(
            f"{source} has {levels} top-down levels in its pixel decoder, the network "
            f"{head.top_down_levels}.",
            fix=f"Set model.decode_head.top_down_levels={levels}",
        )
    print_log(f"{source}: a pixel decoder with {levels} top-down levels", logger="current")
    head.set_top_down_levels(levels)


def write_reference_checkpoint(
    path: str | Path, student: nn.Module, teacher: nn.Module | None = None
) -> None:
    """Saves networks in the published layout, readable by the original repositories.

    Args:
        path: File to write, atomically.
        student: Saved under ``model.``.
        teacher: Saved under ``ema_model.``.
    """
    state: dict[str, torch.Tensor] = {}
    for prefix, network in zip(PARTS, (student, teacher), strict=True):
        if network is not None:
            weights = to_reference_names(network, network.state_dict())
            # clone: halves of a joint projection would otherwise both store the whole of it
            state |= {f"{prefix}.{name}": value.clone() for name, value in weights.items()}
    atomic_save({"meta": {}, "state_dict": state}, path)
