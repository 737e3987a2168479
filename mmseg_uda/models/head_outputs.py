"""Decode heads of a segmentor, also those that return, or learn from, more than logits.

mmseg's heads say in ``predict`` what of their output is the prediction and in ``loss_by_feat`` how
it is trained. Trainers need both without mmseg's data samples, and with a weight for every pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads import EncHead, PointHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_uda.errors import UserError

# head → which of its outputs is the prediction
PREDICTIONS = {"DAHead": 0, "EncHead": 0, "DDRHead": 0, "PIDHead": 1, "IterativeDecodeHead": -1}
# Losses of mmseg that fail with weights of pixels, or take them and do nothing.
UNWEIGHTED_LOSSES = frozenset(
    ("BoundaryLoss", "DiceLoss", "HuasdorffDisstanceLoss", "LovaszLoss", "OhemCrossEntropy")
    + ("TverskyLoss",)
)
# What other places answer: broken devices, full memory, crops that are too small for BatchNorm.
_OTHERS = ("CUDA", "out of memory", "more than 1 value per channel", "allocate memory")


def main_head(segmentor: Any) -> Any:
    """The decode head that predicts: the last one of a cascade."""
    head = segmentor.decode_head
    return head[-1] if isinstance(head, nn.ModuleList) else head


def further_heads(segmentor: Any) -> dict[str, nn.Module]:
    """Heads that are trained beside the main one, by the prefix of their losses."""
    heads: dict[str, nn.Module] = {}
    if isinstance(segmentor.decode_head, nn.ModuleList):
        heads |= {f"decode_{i}": head for i, head in enumerate(segmentor.decode_head[:-1])}
    if segmentor.with_auxiliary_head:
        auxiliary = segmentor.auxiliary_head
        if isinstance(auxiliary, nn.ModuleList):
            heads |= {f"aux_{i}": head for i, head in enumerate(auxiliary)}
        else:
            heads["aux"] = auxiliary
    return heads


def decode_heads(segmentor: Any, features: Sequence[Tensor]) -> dict[str, Any]:
    """What the decode heads return for maps (B, C_l, H_l, W_l); under ``''``, first, the main's."""
    heads = segmentor.decode_head
    stages = list(heads) if isinstance(heads, nn.ModuleList) else [heads]
    outputs: dict[str, Any] = {}
    before: tuple = ()
    for index, head in enumerate(stages):
        check_head(head)
        with _decoding(head, features):
            output = head(features, *before)
        before = (main_logits(head, output),)
        outputs[f"decode_{index}" if index < len(stages) - 1 else ""] = output
    return {"": outputs.pop(""), **outputs}


@contextmanager
def _decoding(head: nn.Module, features: Sequence[Tensor]) -> Iterator[None]:
    """Regions in which a head that does not fit the encoder is told in one message."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        text = str(error).strip() or type(error).__name__
        if isinstance(error, torch.OutOfMemoryError) or any(sign in text for sign in _OTHERS):
            raise
        maps = [features] if isinstance(features, Tensor) else features
        shapes = ", ".join("x".join(map(str, one.shape[1:])) for one in maps)
        raise UserError(
            f"{type(head).__name__} cannot decode the encoder's maps ({shapes}): "
            f"{text.splitlines()[0]}",
            fix="Check in_channels, in_index and the other options of this head, or take the "
            "encoder that it was made for.",
        ) from error


def check_class_scores(segmentor: Any, trainer: str) -> None:
    """Raises unless a segmentor scores every class.

    Raises:
        UserError: It scores one of two classes alone.
    """
    if segmentor.out_channels == 1:
        raise UserError(
            f"model.decode_head.out_channels=1 scores the foreground alone; {trainer} compares the "
            "probabilities of all classes.",
            fix="Leave out out_channels, and use a loss without use_sigmoid.",
        )


def check_pixel_weights(segmentor: Any) -> None:
    """Raises unless every head of a segmentor can weight pixels, as far as its parts are known.

    Raises:
        UserError: A head or one of its losses cannot.
    """
    for head in (main_head(segmentor), *further_heads(segmentor).values()):
        if hasattr(head, "predict_masks"):
            raise no_pixel_weights(head)
        for module in head.modules():
            if type(module).__name__ in UNWEIGHTED_LOSSES:
                raise no_pixel_weights(module)


def main_logits(head: nn.Module, output: Any) -> Tensor:
    """The prediction (B, C, h, w) in what a head's forward pass returned.

    Args:
        head: A decode head; one of your own with several outputs says in the attribute
            ``prediction_index`` which of them is the prediction.
        output: Result of its ``forward``.

    Raises:
        UserError: There are several outputs, and nothing says which is the prediction.
    """
    if isinstance(output, Tensor):
        return output
    index = getattr(head, "prediction_index", None)
    names = [cls.__name__ for cls in type(head).__mro__]
    if index is None:
        index = next((PREDICTIONS[name] for name in names if name in PREDICTIONS), None)
    if index is None or not isinstance(output, Sequence):
        raise UserError(
            f"{type(head).__name__} returns a {type(output).__name__} in training, and it is not "
            "known what of it is the prediction.",
            fix="Use another decode head, or name the place of the logits in its attribute "
            "prediction_index.",
        )
    return output[index]


def check_head(head: nn.Module) -> None:
    """Raises if a head of mmseg has no logits of all pixels.

    Raises:
        UserError: It is one of those.
    """
    names = {cls.__name__ for cls in type(head).__mro__}
    if names & {"MaskFormerHead", "Mask2FormerHead"}:
        raise UserError(
            f"{type(head).__name__} is trained by mmdetection's code, which trainers cannot use.",
            fix="Set model.decode_head.type='TorchMask2FormerHead'.",
        )
    if isinstance(head, PointHead):
        raise UserError(
            "PointHead refines single points of an image; trainers need logits of all pixels.",
            fix="Leave it out of model.decode_head, or use OCRHead as the second stage.",
        )


def has_own_loss(head: nn.Module, output: Any) -> bool:
    """Whether a head computes its loss otherwise than from its logits alone.

    Args:
        head: A decode head.
        output: What its forward pass returned.
    """
    if isinstance(head, EncHead) and isinstance(output, Tensor):
        return False  # without its second loss
    own = getattr(type(head), "loss_by_feat", None)
    return own is not None and own is not BaseDecodeHead.loss_by_feat


def own_losses(
    head: Any, output: Any, label: Tensor, weight: Tensor | None = None
) -> dict[str, Tensor]:
    """The losses and accuracies that a head computes itself.

    Args:
        head: A decode head with ``loss_by_feat``.
        output: What its forward pass returned.
        label: (B, H, W) int64.
        weight: Factor per pixel, (B, H, W) float; on top of the head's own ``sampler``.

    Raises:
        UserError: The head cannot weight pixels, or needs more than labels.
    """
    losses_inside = (m for m in head.modules() if type(m).__name__ in UNWEIGHTED_LOSSES)
    if weight is not None and (unweighted := next(losses_inside, None)) is not None:
        raise no_pixel_weights(unweighted)
    samples = []
    for one in label:
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=one[None])
        samples.append(sample)
    with _weighting(head, weight) as samplers:
        try:
            losses = head.loss_by_feat(output, samples)
        except AttributeError as error:
            if not str(error).startswith("'SegDataSample'"):
                raise
            raise UserError(
                f"{type(head).__name__} learns from more than labels: {error}.",
                fix="Use another decode head.",
            ) from error
    if weight is not None and not any(sampler.used for sampler in samplers):
        raise no_pixel_weights(head)
    return {name: _scalar(value) for name, value in losses.items()}


def _scalar(value: Tensor | Sequence[Tensor]) -> Tensor:
    """Of one loss or a list of them, as mmengine adds them up."""
    return value.mean() if isinstance(value, Tensor) else sum(one.mean() for one in value)  # type: ignore[return-value]


def no_pixel_weights(head: nn.Module) -> UserError:
    """What to say where a head or a loss is given weights that it has no place for."""
    return UserError(
        f"{type(head).__name__} knows no weights of pixels.",
        fix="Take another one, or a method that weights none, e.g. uda.type='SRHA' or "
        "'Supervised'.",
    )


def pixel_weight(
    head: Any, logits: Tensor, label: Tensor, weight: Tensor | None = None
) -> Tensor | None:
    """``weight`` times what a head's ``sampler`` chooses; None where every pixel counts alike.

    Args:
        head: A decode head.
        logits: (B, C, H, W).
        label: (B, H, W) int64.
        weight: (B, H, W) float.
    """
    sampler = getattr(head, "sampler", None)
    if sampler is None:
        return weight
    chosen = sampler.sample(logits, label[:, None])
    return chosen if weight is None else chosen * weight


class _WeightedSampler:
    """Stands where mmseg's losses look for a sampler of pixels, and gives them our weights."""

    def __init__(self, head: Any, weight: Tensor) -> None:
        self.head, self.weight = head, weight
        self.own = getattr(head, "sampler", None)
        self.used = False

    def sample(self, logits: Tensor, label: Tensor) -> Tensor:
        self.used = True
        if self.own is None:
            return self.weight
        return self.own.sample(logits, label) * self.weight


@contextmanager
def _weighting(head: nn.Module, weight: Tensor | None) -> Iterator[list[_WeightedSampler]]:
    """Regions in which a head's losses are weighted; yields who weights them."""
    heads = [m for m in head.modules() if isinstance(m, BaseDecodeHead)]
    samplers = [] if weight is None else [_WeightedSampler(one, weight) for one in heads]
    for sampler in samplers:
        sampler.head.sampler = sampler
    try:
        yield samplers
    finally:
        for sampler in samplers:
            sampler.head.sampler = sampler.own
