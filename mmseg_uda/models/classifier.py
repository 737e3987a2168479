"""The last, linear layer of a decoder and the features that it reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from mmseg_uda.errors import UserError
from mmseg_uda.models.head_outputs import main_logits


def linear_classifiers(head: Any) -> list[nn.Conv2d]:
    """The convolutions whose sum is a decoder's logits; all read the same features.

    Args:
        head: A decode head; those with another classifier than mmseg's ``conv_seg`` name it in
            ``classifiers``.

    Raises:
        UserError: If the head has none.
    """
    found = getattr(head, "classifiers", None) or [getattr(head, "conv_seg", None)]
    if not all(isinstance(conv, nn.Conv2d) for conv in found):
        raise UserError(
            f"{type(head).__name__} has no convolution as its last layer.",
            fix="Name the convolutions that give the logits in its attribute 'classifiers'.",
        )
    return list(found)


@contextmanager
def watched_features(head: Any) -> Iterator[list[Tensor]]:
    """Regions in which a decoder's passes leave what enters the last layer.

    Yields:
        One tensor (B, D, h, w) per pass, before the dropout that precedes the last layer.
    """
    found: list[Tensor] = []
    entrance = getattr(head, "dropout", None) or linear_classifiers(head)[0]
    hook = entrance.register_forward_pre_hook(lambda _, args: found.append(args[0]))
    try:
        yield found
    finally:
        hook.remove()


def decode_with_features(head: Any, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Decodes, and keeps the features that the last layer reads.

    Args:
        head: A decode head.
        inputs: Backbone maps (B, C_i, H_i, W_i), finest first.

    Returns:
        Logits (B, C, h, w) and features (B, D, h, w).

    Raises:
        UserError: If the last layer is not used exactly once.
    """
    with watched_features(head) as found:
        logits = head(inputs)
    if len(found) != 1:
        raise UserError(
            f"{type(head).__name__} uses its last layer {len(found)} times in one pass.",
            fix="Heads that use it once are supported.",
        )
    return main_logits(head, logits), found[0]
