"""Feature distillation of VFM-UDA++ (https://arxiv.org/abs/2503.10685)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_uda.engine.options import Options
from mmseg_uda.engine.records import Normalization, SourceBatch, TargetBatch
from mmseg_uda.errors import UserError
from mmseg_uda.models.norms import ChannelNorm
from mmseg_uda.self_training.component import Component, Host, StepContext
from mmseg_uda.self_training.frozen import FrozenNetwork, guard_weights, remember_weights
from mmseg_uda.self_training.records import PseudoLabels
from mmseg_uda.self_training.registry import COMPONENTS

SMOOTH_L1, COSINE = 0.1, 0.9
TEACHER = {
    "type": "TimmViT",
    "arch": "vit_large_patch14_reg4_dinov2",
    "init_cfg": {"type": "BackboneWeights", "checkpoint": "vit_large_patch14_reg4_dinov2.lvd142m"},
}


def distillation_loss(features: Tensor, target: Tensor) -> Tensor:
    """0.1 · smooth L1, averaged over channels, plus 0.9 · (1 - cosine), averaged over positions.

    Args:
        features: (B, C, h, w), any float type.
        target: The same shape.

    Returns:
        0-dim float32.
    """
    features, target = features.float(), target.float()
    distance = F.smooth_l1_loss(features, target, reduction="none").mean(dim=1)
    likeness = F.cosine_similarity(features, target, dim=1)
    return (SMOOTH_L1 * distance + COSINE * (1 - likeness)).mean()


@dataclass(frozen=True)
class FeatureDistillationOptions(Options):
    """Options of the feature distillation; defaults are those of the published runs."""

    KEY = "uda.distillation"

    loss_weight: float = 0.1
    """Factor on the loss of each domain."""
    teacher: Mapping[str, Any] | None = None
    """Config of a ``TimmViT`` whose last map is the target. None: DINOv2-L with registers."""
    teacher_size: int = 406
    """Side in pixels to which images are resized for it: 29 patches of 14."""
    in_channels: int | None = None
    """Channels of the student's last map. None: what its ``TimmViT`` says."""

    def check(self) -> None:
        """Raises a ``UserError`` for impossible numbers."""
        self.require("loss_weight", self.loss_weight >= 0, "a factor of at least 0")
        self.require("teacher_size", self.teacher_size >= 1, "a number of pixels")


@COMPONENTS.register_module()
class FeatureDistillation(Component):
    """The student's features, projected, come close to those of a frozen foundation model.

    Source and target images each make one more pass, weakly jittered; the frozen network sees them
    as they are. The projector is trained at the decoder's rate.
    """

    Options = FeatureDistillationOptions
    order = 45
    fingerprint: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        guard_weights(self, "the distilled features")
        self.reference: FrozenNetwork
        self.feat_project: nn.Sequential

    def bind(self, host: Host) -> None:
        """Builds the frozen network and the projector."""
        network = MODELS.build(dict(self.options.teacher or TEACHER))
        if not hasattr(network, "embed_dim"):
            raise UserError(
                f"uda.distillation.teacher is a {type(network).__name__}.",
                fix="Use a TimmViT.",
            )
        self.reference = FrozenNetwork(network)
        width = self.options.in_channels
        if width is None:
            channels = getattr(host.model.backbone, "feature_channels", None)
            if channels is None or host.model.with_neck:
                raise UserError(
                    "uda.distillation.in_channels is not given, and only a TimmViT without a neck "
                    "tells the channels of its last map.",
                    fix="Give the channels of the last map that the decoder gets.",
                )
            width = channels[-1]
        self.feat_project = projector(width, network.embed_dim)

    def after_weights(self, host: Host) -> None:
        """Loads the frozen network."""
        self.reference.store(torch.float32)
        self.reference.network.init_weights()
        remember_weights(self, self.reference)
        self.reference.store(host.execution.frozen_type)

    def target_losses(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> dict[str, Tensor]:
        """The loss on the target images, a backward pass of its own."""
        return {"distill.loss_target": self._loss(ctx, target.image, target.normalization)}

    def late_losses(
        self,
        ctx: StepContext,
        source: SourceBatch,
        target: TargetBatch | None,
        pseudo: PseudoLabels | None,
    ) -> dict[str, Tensor]:
        """The loss on the source images."""
        return {"distill.loss_source": self._loss(ctx, source.image, source.normalization)}

    def _loss(self, ctx: StepContext, image: Tensor, normalization: Normalization) -> Tensor:
        side = (self.options.teacher_size,) * 2
        with torch.no_grad(), self.reference.precision(image.device):
            small = F.interpolate(image, side, mode="bilinear", align_corners=False)
            goal = self.reference.network(small)[-1]
        jittered = ctx.host.image_changes.weak(image, normalization, ctx.random)
        features = ctx.host.forward_student(jittered).features[0].features[-1]
        features = self.project(features, goal.shape[-2:])
        return self.options.loss_weight * distillation_loss(features, goal)

    def project(self, features: Tensor, size: torch.Size) -> Tensor:
        """Brings (B, D, h, w) to the frozen network's channels, and to ``size``."""
        projected = self.feat_project(features)
        return F.interpolate(projected, tuple(size), mode="bilinear", align_corners=False)


def projector(width: int, out: int) -> nn.Sequential:
    """1×1 convolution to four times the width, LayerNorm, GELU, 1×1 convolution."""
    return nn.Sequential(
        nn.Conv2d(width, 4 * width, 1),
        ChannelNorm(4 * width),
        nn.GELU(),
        nn.Conv2d(4 * width, out, 1),
    )
