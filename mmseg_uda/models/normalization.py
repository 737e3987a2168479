"""Whether images are normalised as the pretrained encoder expects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg_uda.errors import UserError


def check_normalization(segmentor: Any) -> None:
    """Raises unless images are normalised as the encoder's pretrained weights expect.

    Only encoders that are told which weights to load, and that know (``TimmViT``), are judged.

    Args:
        segmentor: An mmseg ``EncoderDecoder``.

    Raises:
        UserError: Mean or standard deviation differ; names the right ones.
    """
    backbone, preprocessor = segmentor.backbone, segmentor.data_preprocessor
    expected = getattr(backbone, "expected_normalization", None)
    if expected is None or getattr(preprocessor, "mean", None) is None:
        return
    for name, right in zip(("mean", "std"), expected, strict=True):
        found = [float(value) for value in getattr(preprocessor, name).flatten()]
        if not _alike(found, right):
            raise UserError(
                f"model.data_preprocessor.{name}={_text(found)} does not belong to the weights of "
                f"{backbone.arch}, which were trained with {_text(right)}.",
                fix=f"Set model.data_preprocessor.{name}={_text(right)}",
            )


def _alike(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(
        abs(a - b) < 0.05 for a, b in zip(one, other, strict=True)
    )


def _text(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.6g}" for value in values) + "]"
