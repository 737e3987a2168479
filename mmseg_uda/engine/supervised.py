"""Plain supervised training: the source-only and target-only reference rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_uda.engine.optim_wrapper import StepOptimWrapper
from mmseg_uda.engine.options import Options, read_group
from mmseg_uda.engine.panels import detail_panels, prediction_panel, source_panels
from mmseg_uda.engine.records import SourceBatch, source_batch
from mmseg_uda.engine.trainer import Trainer
from mmseg_uda.models.sharing import frozen_in_common, own_and_given


@dataclass(frozen=True)
class AverageOptions(Options):
    """A moving average of the trained weights, as mmengine's ``EMAHook`` makes one."""

    KEY = "uda.ema"

    momentum: float = 2e-4
    """Share of the student in every update: average + momentum · (student - average)."""
    begin: int = 0
    """Updates of the student before which the average is a copy of it. SoMA: 12000 of 40000, and
    20000 with Cityscapes as the source."""

    def check(self) -> None:
        """Raises a ``UserError`` for values that cannot work."""
        self.require("momentum", 0 < self.momentum <= 1, "a number above 0, up to 1")
        self.require("begin", self.begin >= 0, "0 or more")


@dataclass(frozen=True)
class SupervisedOptions(Options):
    """Options of :class:`Supervised`."""

    ema: Mapping[str, Any] | None = None
    """Evaluate a moving average of the weights in place of the last ones (SoMA); ``{}`` or values
    of :class:`AverageOptions`. None: none."""

    def check(self) -> None:
        """Raises a ``UserError`` for values that cannot work."""
        if self.ema is not None:
            read_group(AverageOptions, self.ema)


@MODELS.register_module()
class Supervised(Trainer):
    """Trains on the labelled batch ``source`` alone.

    Source-only takes the adaptation's source data, target-only the target's labelled data.

    Args:
        segmentor: Config of the segmentor.
        config: Options of :class:`Trainer` and of :class:`SupervisedOptions`.
    """

    Options = SupervisedOptions

    def __init__(self, segmentor: dict, **config: Any) -> None:
        super().__init__(segmentor, **config)
        self._average: AverageOptions | None = None
        if self.options.ema is not None:
            self._average = read_group(AverageOptions, self.options.ema)
            self.ema_model = frozen_in_common(self.model).requires_grad_(False)

    @property
    def evaluated(self) -> nn.Module:
        """The average where there is one, else the segmentor."""
        return self.model if self._average is None else self.ema_model

    def init_weights(self) -> None:
        """Initialises the segmentor; its average starts as its copy."""
        self.init_student()
        if self._average is not None:
            self.ema_model.load_state_dict(self.model.state_dict())

    @torch.no_grad()
    def after_update(self) -> None:
        """Averages the segmentor in; its buffers (statistics) are copied."""
        if self._average is None:
            return
        pairs = list(own_and_given(self.ema_model, self.model))
        mine, theirs = [one for one, _ in pairs], [other.detach() for _, other in pairs]
        if self._step <= max(self._average.begin, 1):
            torch._foreach_copy_(mine, theirs)
        else:
            torch._foreach_lerp_(mine, theirs, self._average.momentum)
        for copied, buffer in zip(self.ema_model.buffers(), self.model.buffers(), strict=True):
            copied.copy_(buffer)

    def run_step(self, data: Mapping[str, Any], optim_wrapper: StepOptimWrapper) -> None:
        """Cross-entropy on the labelled batch."""
        source = source_batch(data["source"], self.model.data_preprocessor)
        with optim_wrapper.optim_context(self):
            output = self.forward_student(source.image)
            losses = self.loss(output, source.label, self.pixel_weight(source))
        self.backward(losses, optim_wrapper)
        if self.draws:
            prediction = prediction_panel("prediction", output)
            self.panels = [*source_panels(source), prediction, *detail_panels(output)]

    def pixel_weight(self, source: SourceBatch) -> Tensor | None:
        """(B, H, W) weights of a batch's labels; None counts every pixel alike."""
        return None
