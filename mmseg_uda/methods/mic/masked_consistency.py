"""Masked image consistency (MIC, Sec. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_uda.engine.options import Options
from mmseg_uda.engine.panels import (
    ImagePanel,
    LabelPanel,
    MapPanel,
    detail_boxes,
    detail_panels,
    prediction_panel,
)
from mmseg_uda.engine.records import SourceBatch, TargetBatch
from mmseg_uda.errors import UserError
from mmseg_uda.models.backbones import TimmViT
from mmseg_uda.models.views import SegmentorOutput
from mmseg_uda.self_training.component import Component, Host, StepContext
from mmseg_uda.self_training.random import StepRandom
from mmseg_uda.self_training.records import PseudoLabels
from mmseg_uda.self_training.registry import COMPONENTS
from mmseg_uda.self_training.teacher import SHARES, EmaTeacher, pseudo_labels

DOMAINS = {"separate": "both", "separatesrc": "source", "separatetrg": "target"}
UNITS = ("pixels", "tokens")
MODES = tuple(mode + suffix for mode in DOMAINS for suffix in ("", "aug"))


def mask_image(image: Tensor, block_size: int, mask_ratio: float, random: StepRandom) -> Tensor:
    """Blanks random square patches, independently per image.

    Args:
        image: (B, 3, H, W), normalised: a blank pixel is 0, the mean colour.
        block_size: Edge of a patch in pixels; the grid has round(H / b) × round(W / b)
            patches, stretched to the image.
        mask_ratio: Probability of a patch to be blanked.
        random: Draws the grid.
    """
    return image * kept_pixels(image, image.shape[-2:], block_size, mask_ratio, random)


def kept_pixels(
    image: Tensor, size: Sequence[int], block_size: int, mask_ratio: float, random: StepRandom
) -> Tensor:
    """(B, 1, *size) float32 of 0 and 1: the patches that :func:`mask_image` leaves.

    Args:
        image: (B, 3, H, W), which will be resized to ``size`` before the mask is laid on it.
        size: Height and width.
        block_size: Edge of a patch in pixels of ``size``.
        mask_ratio: Probability of a patch to be blanked.
        random: Draws the grid.
    """
    rows, columns = (round(side / block_size) for side in size)
    kept = random.kept_patches(image.shape[0], rows, columns, mask_ratio, image.device)
    return F.interpolate(kept, size=tuple(size), mode="nearest")


def encodes_once(segmentor: Any) -> bool:
    """Whether a segmentor shows the whole image to its encoder, once; HRDA does not."""
    return not hasattr(segmentor, "training_forward")


def require_token_mask(segmentor: Any) -> None:
    """Raises unless a segmentor can leave out tokens of its encoder.

    Raises:
        UserError: Its encoder has no mask token, or it makes more than one pass (HRDA).
    """
    if not isinstance(segmentor.backbone, TimmViT):
        found = f"the encoder is a {type(segmentor.backbone).__name__}"
    elif not encodes_once(segmentor):
        found = f"{type(segmentor).__name__} encodes an image more than once"
    else:
        return
    raise UserError(
        f"uda.masking.unit='tokens' masks tokens of a TimmViT in one pass, and {found}.",
        fix="Set uda.masking.unit='pixels', or use model.backbone.type='TimmViT' without HRDA.",
    )


@dataclass(frozen=True)
class MaskingOptions(Options):
    """Options of masked consistency; defaults are those of the published runs on synthetic data."""

    KEY = "uda.masking"

    mode: str = "separatetrgaug"
    """``separatetrg`` (target images), ``separatesrc`` (source images and labels), ``separate``
    (half source, half target); with ``aug`` appended, colour jitter and blur come before the mask.
    Published: separatetrgaug for synthetic sources, separate for Cityscapes → ACDC / Dark Zurich
    and in CSI."""
    mask_ratio: float = 0.7
    """Share of blanked patches, in [0, 1)."""
    block_size: int = 64
    """Patch edge in pixels: 64 at full resolution, 32 at half; of the resized image where a
    ``TimmViT`` resizes it (VFM-UDA++)."""
    loss_weight: float = 1.0
    """Factor on the masked losses."""
    alpha: float | str = "same"
    """Decay of an own teacher, or ``same`` for the host's."""
    pseudo_threshold: float | str | None = "same"
    """Confidence threshold of an own teacher, ``same`` for the host's, None for weight 1
    everywhere."""
    unit: str = "pixels"
    """What is masked: ``pixels`` of patches of ``block_size``, or ``tokens`` of a plain transformer
    (``TimmViT``), each by itself, which a trained mask token replaces (VFM-UDA)."""
    shared_draws: bool = True
    """One order of colour operations and one blur for the whole batch, as published with MIC; False
    draws them per image (VFM-UDA)."""
    weight_main_loss_only: bool = False
    """Apply ``loss_weight`` to the main loss and not to HRDA's detail loss, as the original code
    does. Irrelevant at loss weight 1."""

    def check(self) -> None:
        """Raises a ``UserError`` for an unknown mode or impossible numbers."""
        self.require_choice("mode", MODES)
        self.require_choice("unit", UNITS)
        self.require("mask_ratio", 0 <= self.mask_ratio < 1, "a share in [0, 1)")
        self.require("block_size", self.block_size >= 1, "at least 1 pixel")

    @property
    def domain(self) -> str:
        """What is masked: ``source``, ``target`` or ``both``."""
        return DOMAINS[self.mode.removesuffix("aug")]

    @property
    def augment(self) -> bool:
        """Whether colour jitter and blur come before the mask."""
        return self.mode.endswith("aug")


@COMPONENTS.register_module()
class MaskedConsistency(Component):
    """The student reproduces the teacher's labels from an image with blanked patches."""

    Options = MaskingOptions
    order = 40
    teacher: EmaTeacher | None = None

    def bind(self, host: Host) -> None:
        """Checks the unit; builds a teacher where the host has none, or one with other settings."""
        if self.options.unit == "tokens":
            require_token_mask(host.model)
            host.model.backbone.learn_mask_token()
        if not host.adapts:
            if self.options.domain != "source":
                raise UserError(
                    "uda.source_only=True leaves masked consistency without target labels.",
                    fix="Set uda.masking.mode to 'separatesrc' or 'separatesrcaug'.",
                )
            return
        same = self.options.alpha == "same" and self.options.pseudo_threshold == "same"
        if self.options.domain == "source" or (same and host.teacher is not None):
            return
        alpha = host.options.alpha if self.options.alpha == "same" else float(self.options.alpha)
        self.ema_model, self.teacher = host.build_teacher(alpha)

    def after_weights(self, host: Host) -> None:
        """Starts an own teacher from the student."""
        if self.teacher is not None:
            self.ema_model.load_state_dict(host.model.state_dict())

    def begin_step(self, ctx: StepContext) -> None:
        """Averages the student into an own teacher."""
        if self.teacher is not None and ctx.part == 0:
            self.teacher.update(ctx.host.model, ctx.step)

    def late_losses(
        self,
        ctx: StepContext,
        source: SourceBatch,
        target: TargetBatch | None,
        pseudo: PseudoLabels | None,
    ) -> dict[str, Tensor]:
        """Cross-entropy on masked images; blank and visible pixels count alike."""
        host = ctx.host
        image, label, weight = self._batch(ctx, source, target, pseudo)
        with torch.no_grad():
            if self.options.augment:
                image = host.image_changes.strong(
                    image,
                    source.normalization,
                    ctx.random,
                    shared_draws=self.options.shared_draws,
                )
            image, masks = self._mask(ctx, image)
        output = host.forward_student(image, **masks)
        losses = host.loss(output, label, weight)
        if ctx.draws:
            shown = self._blanked(host, image, **masks)
            self._show(ctx, source.normalization.to_rgb(shown), label, weight, output)
        return {f"masked.{name}": self._scale(name, value) for name, value in losses.items()}

    def _mask(self, ctx: StepContext, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The image with blank patches, or the image and what the encoder is to mask."""
        model, options, size = ctx.host.model, self.options, image.shape[-2:]
        ratio = options.mask_ratio
        if options.unit == "tokens":
            rows, columns = model.backbone.grid_size(*size)
            count = rows * columns
            tokens = ctx.random.masked_tokens(image.shape[0], count, ratio, image.device)
            return image, {"token_mask": tokens}
        if isinstance(model.backbone, TimmViT) and encodes_once(model):
            size = model.backbone.input_size(*size)
            kept = kept_pixels(image, size, options.block_size, ratio, ctx.random)
            return image, {"pixel_mask": kept}
        return mask_image(image, options.block_size, ratio, ctx.random), {}

    @staticmethod
    def _blanked(
        host: Host,
        image: Tensor,
        token_mask: Tensor | None = None,
        pixel_mask: Tensor | None = None,
    ) -> Tensor:
        """For the picture: the image without what the encoder masks."""
        kept, size = pixel_mask, image.shape[-2:]
        if token_mask is not None:
            kept = (~token_mask).float().view(-1, 1, *host.model.backbone.grid_size(*size))
        return image if kept is None else image * F.interpolate(kept, size=size, mode="nearest")

    def _show(
        self,
        ctx: StepContext,
        image: Tensor,
        label: Tensor,
        weight: Tensor | None,
        output: SegmentorOutput,
    ) -> None:
        ctx.show(
            ImagePanel("masked image", image, boxes=detail_boxes(output, image.shape[0])),
            prediction_panel("prediction, masked", output),
            *detail_panels(output, "weight of the detail, masked"),
        )
        # Otherwise they are the source's, or the host's pseudo-labels, which are shown already.
        if self.teacher is not None or self.options.domain == "both":
            ctx.show(LabelPanel("masked label", label))
            if weight is not None:
                ctx.show(MapPanel("masked weight", weight))

    def _scale(self, name: str, value: Tensor) -> Tensor:
        if "loss" not in name or (self.options.weight_main_loss_only and name.count(".") > 1):
            return value
        return value * self.options.loss_weight

    def _batch(
        self,
        ctx: StepContext,
        source: SourceBatch,
        target: TargetBatch | None,
        pseudo: PseudoLabels | None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        if self.options.domain == "source":
            return source.image, source.label, None
        assert target is not None
        if self.teacher is not None:
            pseudo = self._own_labels(ctx, self.teacher, target)
        assert pseudo is not None
        if self.options.domain == "target":
            return target.image, pseudo.label, pseudo.weight
        # Half of each domain; with the published batch of 2 one image each.
        half = source.image.shape[0] // 2
        rest = source.image.shape[0] - half
        ones = torch.ones_like(pseudo.weight[:half])
        return (
            torch.cat([source.image[:half], target.image[:rest]]),
            torch.cat([source.label[:half], pseudo.label[:rest]]),
            torch.cat([ones, pseudo.weight[:rest]]),
        )

    @torch.no_grad()
    def _own_labels(
        self, ctx: StepContext, teacher: EmaTeacher, target: TargetBatch
    ) -> PseudoLabels:
        host = ctx.host
        threshold = (
            host.options.pseudo_threshold
            if self.options.pseudo_threshold == "same"
            else self.options.pseudo_threshold
        )
        pseudo = pseudo_labels(
            teacher.logits(target.image),
            threshold,
            SHARES[host.options.pseudo_share],
            primary=False,
        )
        pseudo = host.refine_labels(ctx, target, pseudo)
        return pseudo.masked(host.valid_pixels(target))
