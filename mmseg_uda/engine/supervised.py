"""Plain supervised training: the source-only and target-only reference rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmseg.registry import MODELS
from torch import Tensor

from mmseg_uda.engine.optim_wrapper import StepOptimWrapper
from mmseg_uda.engine.panels import detail_panels, prediction_panel, source_panels
from mmseg_uda.engine.records import SourceBatch, source_batch
from mmseg_uda.engine.trainer import Trainer


@MODELS.register_module()
class Supervised(Trainer):
    """Trains on the labelled batch ``source`` alone.

    Source-only takes the adaptation's source data, target-only the target's labelled data.
    """

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
