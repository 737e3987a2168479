"""The base of trainers that adapt by what the student predicts on target images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mmseg_uda.engine.optim_wrapper import StepOptimWrapper
from mmseg_uda.engine.panels import prediction_panel
from mmseg_uda.errors import UserError
from mmseg_uda.models.views import SegmentorOutput, upsample
from mmseg_uda.self_training.component import Component, Losses
from mmseg_uda.self_training.host import ComponentHost
from mmseg_uda.self_training.options import HostOptions

AUXILIARY = "aux"
# Stages of a component that need a host's own pseudo-labels.
LABEL_STAGES = (
    *("teacher_logits", "refine_weights", "choose_source", "after_mixing"),
    "target_losses",
)


def output_probabilities(
    output: SegmentorOutput, size: tuple[int, int], align_corners: bool
) -> dict[str, Tensor]:
    """Class probabilities (B, C, H, W), float32, of the main and the auxiliary predictions.

    Args:
        output: Of a training pass.
        size: Height and width of the image. A segmentor with two scales gives its fused prediction
            at half of it.
        align_corners: Of the enlargement.

    Returns:
        By the name of the prediction: ``''`` for the main one, ``aux``, ``aux_0``, …
    """
    if output.detail is not None:
        size = (size[0] // 2, size[1] // 2)
    return {
        view.name: torch.softmax(upsample(view.logits, size, align_corners), dim=1)
        for view in output.logits
        if not view.name or view.name.startswith(AUXILIARY)
    }


@dataclass(frozen=True)
class OutputAdaptationOptions(HostOptions):
    """Options of :class:`OutputAdaptation`.

    Those about pseudo-labels are for a component that makes some with a teacher of its own (MIC).
    """

    loss_weight: float = 0.001
    """Factor on the loss of the main prediction of target images."""
    auxiliary_loss_weight: float = 0.0002
    """The same of an auxiliary head's."""

    def check(self) -> None:
        """Raises a ``UserError`` for values that cannot work."""
        super().check()
        for name in ("loss_weight", "auxiliary_loss_weight"):
            self.require(name, getattr(self, name) >= 0, "a factor of at least 0")


class OutputAdaptation(ComponentHost):
    """Source cross-entropy plus a loss on the probabilities that target images get.

    There are no pseudo-labels; masked consistency on it makes its own.
    """

    Options = OutputAdaptationOptions

    def _check_options(self) -> None:
        super()._check_options()
        for role, component in self.components.items():
            own = vars(Component)
            if any(getattr(type(component), s) is not own[s] for s in LABEL_STAGES):
                name = type(self).__name__
                raise UserError(
                    f"uda.{role} works on pseudo-labels, which {name} does not make.",
                    fix=f"Use uda.type='SelfTraining', or set uda.{role}=None.",
                )

    def run_step(self, data: Mapping[str, Any], optim_wrapper: StepOptimWrapper) -> None:
        """One step: source, target, the components' late losses, then what else learns."""
        ctx = self.begin_step()
        learn = partial(self.learn, optim_wrapper)
        source, target = self.read_batches(ctx, data, self._step >= self.options.target_start)
        self.components.begin_step(ctx)
        seen: dict[str, dict[str, Tensor]] = {}

        def source_losses() -> Losses:
            losses, output = self.source_losses(ctx, source)
            if target is not None:
                seen["source"] = _detached(self.probabilities(output, source.image))
            return losses

        def target_losses() -> Losses:
            assert target is not None
            output = self.forward_student(target.image)
            if ctx.draws:
                ctx.show(prediction_panel("prediction, target", output))
            probabilities = self.probabilities(output, target.image)
            seen["target"] = _detached(probabilities)
            return self.target_losses(probabilities)

        learn(source_losses)
        if target is None:
            return
        learn(target_losses)
        for losses in self.components.late_losses(ctx, source, target, None):
            learn(losses)
        self.after_student(seen["source"], seen["target"], optim_wrapper)

    def probabilities(self, output: SegmentorOutput, image: Tensor) -> dict[str, Tensor]:
        """See :func:`output_probabilities`; computed in float32."""
        height, width = image.shape[-2:]
        with torch.autocast(device_type=image.device.type, enabled=False):
            return output_probabilities(output, (height, width), self.model.align_corners)

    def loss_weight(self, name: str) -> float:
        """Factor on the loss of a prediction."""
        return self.options.auxiliary_loss_weight if name else self.options.loss_weight

    @abstractmethod
    def target_losses(self, probabilities: Mapping[str, Tensor]) -> Losses:
        """Losses on the probabilities of target images, by the name of the prediction."""

    def after_student(
        self,
        on_source: Mapping[str, Tensor],
        on_target: Mapping[str, Tensor],
        optim_wrapper: StepOptimWrapper,
    ) -> None:
        """Called with both domains' probabilities, detached, when the student's passes are over."""


def _detached(maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: one.detach() for name, one in maps.items()}


def named(group: str, name: str, loss: str) -> str:
    """Key of a loss: 'target.loss_entropy', or 'target.aux.loss_entropy'."""
    return ".".join(filter(None, (group, name, loss)))
