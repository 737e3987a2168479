"""What a trainer sees of a segmentor: logits and features with the region they belong to.

These functions serve any mmseg ``EncoderDecoder``. A segmentor that needs more than one pass
(HRDA) answers them through methods of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_uda.models.head_outputs import (
    UNWEIGHTED_LOSSES,
    decode_heads,
    further_heads,
    has_own_loss,
    main_head,
    main_logits,
    no_pixel_weights,
    own_losses,
    pixel_weight,
)
from mmseg_uda.models.layout import encode
from mmseg_uda.models.losses import pixel_accuracy
from mmseg_uda.models.mask_classification import MaskPredictions

ChooseOffset = Callable[[int, int], tuple[int, int]]
Decode = Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the full-resolution image; ends are exclusive."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices of a full-resolution map."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def scaled_slices(self, factor: float) -> tuple[slice, slice]:
        """Row and column slices of a map that is ``factor`` times smaller, truncated."""
        return (
            slice(int(self.y0 / factor), int(self.y1 / factor)),
            slice(int(self.x0 / factor), int(self.x1 / factor)),
        )

    def crop(self, x: Tensor) -> Tensor:
        """Cuts the box out of (..., H, W), as a view."""
        rows, columns = self.slices
        return x[..., rows, columns]


@dataclass(frozen=True)
class FeatureView:
    """One backbone pass that feeds a feature loss.

    Attributes:
        features: Backbone (and neck) maps (B, C_i, H_i, W_i), finest first.
        scale: Factor by which the image was resized before the pass.
        box: Region of the image that was encoded; the whole image when absent.
    """

    features: Sequence[Tensor]
    scale: float
    box: Box | None


@dataclass(frozen=True)
class LogitView:
    """One prediction that enters the loss.

    Attributes:
        name: ``''`` for the main prediction, else the infix of the loss key.
        logits: (B, C, h, w) at the decoder's resolution.
        weight: Factor on its loss.
        box: Region of the label that it predicts; the whole label when absent.
    """

    name: str
    logits: Tensor
    weight: float
    box: Box | None


@dataclass(frozen=True)
class DetailView:
    """How a segmentor with two scales looked at the image.

    Attributes:
        box: Region that was encoded in detail; the whole image when absent.
        attention: Weight of the detail prediction in [0, 1], (B, C or 1, h, w), detached, at the
            size of the main logits.
        context: Logits (B, C, h', w') of the context scale alone, before the attention.
    """

    box: Box | None
    attention: Tensor
    context: Tensor


@dataclass(frozen=True)
class SegmentorOutput:
    """Everything of a training forward pass that losses may use; the main logits come first.

    A decoder of masks is supervised through ``masks``; its main "logits" are class scores. Heads
    with a loss of their own are supervised through ``outputs``: view -> what the head returned.
    """

    logits: tuple[LogitView, ...]
    features: tuple[FeatureView, ...]
    detail: DetailView | None = None
    masks: MaskPredictions | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)


def training_forward(
    segmentor: Any,
    image: Tensor,
    choose_offset: ChooseOffset | None = None,
    token_mask: Tensor | None = None,
    pixel_mask: Tensor | None = None,
) -> SegmentorOutput:
    """Runs a segmentor for training.

    Args:
        segmentor: An mmseg ``EncoderDecoder``.
        image: Normalised images (B, 3, H, W).
        choose_offset: Given the number of vertical and horizontal positions of a random crop,
            returns the chosen pair of indices. Segmentors without one never call it.
        token_mask: (B, h·w) bool, tokens that a ``TimmViT`` is not shown; one pass only.
        pixel_mask: (B, 1, h, w) float32 of 0 and 1, pixels of its resized image that it is shown.

    Returns:
        Logits at the decoder's resolution and the features behind them.
    """
    if hasattr(segmentor, "training_forward"):
        return segmentor.training_forward(image, choose_offset)
    return decode_features(segmentor, encode(segmentor, image, token_mask, pixel_mask))


def decode_features(segmentor: Any, features: Sequence[Tensor]) -> SegmentorOutput:
    """The second half of :func:`training_forward`, for features that were made in another way.

    Args:
        segmentor: An mmseg ``EncoderDecoder`` with one scale.
        features: Backbone (and neck) maps (B, C_i, H_i, W_i), finest first.
    """
    main = main_head(segmentor)
    masks = main.predict_masks(features) if hasattr(main, "predict_masks") else None
    outputs = decode_heads(segmentor, features) if masks is None else {"": masks.scores()}
    heads = {"": main, **further_heads(segmentor)}
    outputs |= {name: head(features) for name, head in heads.items() if name not in outputs}
    logits = tuple(
        LogitView(name, main_logits(heads[name], output), 1.0, None)
        for name, output in outputs.items()
    )
    own = {name: output for name, output in outputs.items() if has_own_loss(heads[name], output)}
    return SegmentorOutput(logits, (FeatureView(features, 1.0, None),), masks=masks, outputs=own)


def full_prediction(
    segmentor: Any, output: SegmentorOutput, size: Sequence[int], rows: slice = slice(None)
) -> Tensor:
    """The main prediction of a training pass at ``size``, float32, with its gradient.

    Args:
        segmentor: The segmentor that made the output.
        output: Result of :func:`training_forward` or :func:`decode_features`.
        size: Height and width.
        rows: Images of the batch that are wanted.

    Returns:
        (n, C, *size) logits, bilinearly enlarged; of a decoder of masks class scores, whose masks
        are enlarged.
    """
    if output.masks is not None:
        return output.masks.scores(size, rows)
    return upsample(output.logits[0].logits[rows], size, segmentor.align_corners)


def segmentation_loss(
    segmentor: Any, output: SegmentorOutput, label: Tensor, weight: Tensor | None = None
) -> dict[str, Tensor]:
    """Computes the loss and the accuracy of every prediction.

    Args:
        segmentor: The segmentor that made the output; its heads bring the loss functions.
        output: Result of :func:`training_forward`.
        label: (B, H, W) int64.
        weight: Factor per pixel, (B, H, W) float.

    Returns:
        ``decode.<loss name>`` and ``decode.acc_seg`` for the main prediction,
        ``decode.<view>.…`` for further views, ``aux.…`` for auxiliary heads, ``decode_0.…`` for the
        earlier heads of a cascade. Losses carry the weight of their view.

    Raises:
        UserError: Pixels have weights, and a head's loss has none.
    """
    main, further = main_head(segmentor), further_heads(segmentor)
    losses: dict[str, Tensor] = {}
    if output.masks is not None:
        losses = _mask_losses(main, output, label, weight)
    for view in output.logits if output.masks is None else output.logits[1:]:
        head: Any = further.get(view.name, main)
        if view.name in further:
            prefix = view.name
        else:
            prefix = f"decode.{view.name}" if view.name else "decode"
        if view.name in output.outputs:
            own = own_losses(head, output.outputs[view.name], label, weight)
            losses |= {f"{prefix}.{name}": value for name, value in own.items()}
            continue
        view_label = label if view.box is None else view.box.crop(label)
        view_weight = weight if weight is None or view.box is None else view.box.crop(weight)
        if getattr(head, "loss_resolution", "label") == "feature":
            logits, size = view.logits.float(), view.logits.shape[-2:]
            view_label = resize_nearest(view_label, size)
            view_weight = None if view_weight is None else resize_nearest(view_weight, size)
        else:
            logits = upsample(view.logits, view_label.shape[-2:], head.align_corners)
        view_weight = pixel_weight(head, logits, view_label, view_weight)
        modules = head.loss_decode
        for loss_module in modules if isinstance(modules, nn.ModuleList) else [modules]:
            if view_weight is not None and type(loss_module).__name__ in UNWEIGHTED_LOSSES:
                raise no_pixel_weights(loss_module)
            loss = loss_module(
                logits, view_label, weight=view_weight, ignore_index=head.ignore_index
            )
            key = f"{prefix}.{loss_module.loss_name}"
            loss = loss if view.weight == 1.0 else loss * view.weight
            losses[key] = losses[key] + loss if key in losses else loss
        losses[f"{prefix}.acc_seg"] = pixel_accuracy(logits.detach(), view_label)
    return losses


def _mask_losses(
    head: Any, output: SegmentorOutput, label: Tensor, weight: Tensor | None
) -> dict[str, Tensor]:
    if weight is not None:
        raise no_pixel_weights(head)
    parts = head.loss_decode(output.masks, label, ignore_index=head.ignore_index)
    losses = {f"decode.{name}": loss for name, loss in parts.items()}
    scores = upsample(output.logits[0].logits.detach(), label.shape[-2:], head.align_corners)
    return {**losses, "decode.acc_seg": pixel_accuracy(scores, label)}


def resize_nearest(values: Tensor, size: Sequence[int]) -> Tensor:
    """Resizes labels or weights (B, H, W) to ``size``, pixel ``floor(i · H/h)``; keeps the type."""
    if tuple(values.shape[-2:]) == tuple(size):
        return values
    # interpolation knows no int64; float32 holds ids exactly
    resized = F.interpolate(values[:, None].float(), size=tuple(size), mode="nearest")
    return resized[:, 0].to(values.dtype)


def upsample(logits: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Resizes logits (B, C, h, w) bilinearly to ``size``; float32 even under mixed precision."""
    logits = logits.float()
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=align_corners)


def full_logits(segmentor: Any, image: Tensor) -> Tensor:
    """Predicts logits at image resolution, leaving every module in the mode it is in.

    This is the teacher's forward pass: no sliding window over the image, no random crop.

    Args:
        segmentor: An mmseg ``EncoderDecoder``.
        image: Normalised images (B, 3, H, W).

    Returns:
        Logits (B, C, H, W), float32.
    """
    if hasattr(segmentor, "full_logits"):
        return segmentor.full_logits(image)
    features = encode(segmentor, image)
    head = main_head(segmentor)
    if hasattr(head, "predict_masks"):
        return head.predict_masks(features).scores(image.shape[-2:])
    logits = main_logits(head, decode_heads(segmentor, features)[""])
    return upsample(logits, image.shape[-2:], segmentor.align_corners)


def decoded_views(
    segmentor: Any, image: Tensor, decode: Decode | None = None, attenuated_context: bool = False
) -> tuple[Tensor, ...]:
    """Every prediction that one pass of :func:`full_logits` makes, before it is enlarged.

    Args:
        segmentor: An mmseg ``EncoderDecoder``.
        image: Normalised images (B, 3, H, W).
        decode: Replaces the (single-scale) decoder: backbone maps (N, C_i, H_i, W_i) to T·C
            channels, T predictions side by side. The encoder still runs once.
        attenuated_context: Multiply HRDA's context prediction by one minus attention.

    Returns:
        One prediction (B, T·C, h, w), or with HRDA three: fused, context and detail, the context
        at half of the others' resolution.
    """
    if hasattr(segmentor, "decoded_views"):
        return segmentor.decoded_views(image, decode, attenuated_context)
    features = encode(segmentor, image)
    if decode is not None:
        return (decode(features),)
    return (main_logits(main_head(segmentor), decode_heads(segmentor, features)[""]),)


def single_scale_head(segmentor: Any) -> Any:
    """The decoder of backbone maps: the decode head itself, or the one that HRDA shares."""
    head = main_head(segmentor)
    return head.head if hasattr(head, "lr_scale") else head


def backbone_features(
    segmentor: Any, image: Tensor, scale: float = 1.0, box: Box | None = None
) -> Sequence[Tensor]:
    """Encodes the region and scale that a :class:`FeatureView` names.

    Args:
        segmentor: An mmseg ``EncoderDecoder``; its decoder is not used.
        image: Normalised images (B, 3, H, W).
        scale: Resize factor before encoding.
        box: Region of the image at full resolution.

    Returns:
        Backbone (and neck) maps (B, C_i, H_i, W_i), finest first.
    """
    return encode(segmentor, view_image(image, scale, box))


def view_image(image: Tensor, scale: float = 1.0, box: Box | None = None) -> Tensor:
    """Crops (B, C, H, W) to ``box`` (full resolution), then resizes bilinearly, no antialias."""
    image = image if box is None else box.crop(image)
    if scale == 1.0:
        return image
    return F.interpolate(image, scale_factor=scale, mode="bilinear", align_corners=False)
