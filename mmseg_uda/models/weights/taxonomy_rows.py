"""Starting a segmentor of one taxonomy from a checkpoint of another (DynAlign)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmseg_uda.errors import UserError
from mmseg_uda.models.weights.checkpoint import fill_segmentor, segmentor_weights

CLASSIFIER = "conv_seg."


def load_with_rows(
    segmentor: nn.Module,
    checkpoint: str | Path | Mapping[str, Any],
    rows: Sequence[int | None],
    source_classes: int,
    part: str = "model",
) -> list[str]:
    """Fills a segmentor from a network with other classes.

    Every tensor with one row per class (classifiers, class-wise attention) takes its rows from
    those of the source classes; all others are taken as they are.

    Args:
        segmentor: Network of K target classes.
        checkpoint: See :func:`load_segmentor_weights`.
        rows: Per target class the source class, None where the network's own initial row stays.
        source_classes: Number of classes in the checkpoint.
        part: ``'model'`` or ``'ema_model'``.

    Returns:
        Names of the tensors with one row per class.

    Raises:
        UserError: The checkpoint is not readable, or of another network or number of classes.
    """
    where = "the checkpoint" if isinstance(checkpoint, Mapping) else checkpoint
    given = segmentor_weights(segmentor, checkpoint, part)
    expected = segmentor.state_dict()
    weights, per_class = dict(given), []
    for name, own in expected.items():
        value = given.get(name)
        if value is None or not _has_rows(name, own, value, len(rows)):
            continue
        if len(value) != source_classes:
            raise UserError(
                f"{where} has {len(value)} classes ({name}), the source taxonomy {source_classes}.",
                fix="Give the checkpoint of a network in the map's source taxonomy.",
            )
        weights[name] = expand_rows(value, own, rows)
        per_class.append(name)
    fill_segmentor(segmentor, weights, where)
    return per_class


def expand_rows(value: Tensor, own: Tensor, rows: Sequence[int | None]) -> Tensor:
    """Row t of the result is row ``rows[t]`` of ``value``, or of ``own`` where that is None.

    Args:
        value: (K_s, ...).
        own: (K_t, ...).
        rows: K_t indices or None.
    """
    result = own.clone()
    taken = [t for t, row in enumerate(rows) if row is not None]
    index = torch.tensor([row for row in rows if row is not None], dtype=torch.long)
    result[taken] = value[index].to(own)
    return result


def _has_rows(name: str, own: Tensor, value: Tensor, classes: int) -> bool:
    if own.ndim == 0 or value.ndim != own.ndim or own.shape[1:] != value.shape[1:]:
        return False
    return len(own) == classes and (len(value) != len(own) or CLASSIFIER in name)
