"""The student's own uncertainty with its gradient (experimental; not part of SSDA's code)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from mmseg_uda.errors import UserError
from mmseg_uda.methods.ssda.opinions import dropout_rate, views_disagreement
from mmseg_uda.methods.ssda.options import UncertaintyOptions
from mmseg_uda.methods.ssda.uncertainty import masked_logits
from mmseg_uda.models.classifier import linear_classifiers, watched_features
from mmseg_uda.models.views import SegmentorOutput, single_scale_head
from mmseg_uda.self_training.random import StepRandom

KEY = "uda.subdomains.uncertainty_grad"


class StudentUncertainty:
    """Mean disagreement of a student's training forward, at the decoder's resolution.

    With HRDA the three scales are compared inside the detail crop, the only region that all of
    them see; on other networks T dropout masks of the classifier.

    Args:
        options: Which predictions are compared.
        source: As :func:`mmseg_uda.methods.ssda.opinions.resolve_source` gives it.
        segmentor: The student.

    Raises:
        UserError: If the student's forward does not give the predictions.
    """

    def __init__(self, options: UncertaintyOptions, source: str, segmentor: Any) -> None:
        self.options = options
        self.source = source
        self._features: list[Tensor] = []
        scales = hasattr(segmentor, "decoded_views")
        if source not in ("scale_views", "mc_dropout") or (source == "mc_dropout" and scales):
            raise UserError(
                f"{KEY}=True works with scale_views on HRDA and with mc_dropout on other networks, "
                f"not with source={source!r} on {type(segmentor).__name__}.",
                fix=f"Set {KEY}=False.",
            )
        if source == "scale_views":
            if segmentor.decode_head.hr_loss_weight <= 0:
                raise UserError(
                    f"{KEY}=True needs the detail prediction, which the student does not give "
                    "without a loss on it.",
                    fix="Set model.decode_head.hr_loss_weight above 0 (published: 0.1).",
                )
            if options.attenuated_lr:
                raise UserError(
                    f"{KEY}=True compares the context prediction itself.",
                    fix="Set uda.subdomains.uncertainty.attenuated_lr=False.",
                )
        else:
            head = single_scale_head(segmentor)
            self._classifiers = linear_classifiers(head)
            self._rate = dropout_rate(options, segmentor)

    @contextmanager
    def observing(self, segmentor: Any) -> Iterator[None]:
        """Region of the student's forward pass that is judged."""
        if self.source == "scale_views":
            yield
            return
        with watched_features(single_scale_head(segmentor)) as found:
            yield
        self._features = found

    def mean(self, output: SegmentorOutput, random: StepRandom) -> Tensor:
        """0-dim mean divergence in bits, differentiable."""
        if self.source == "scale_views":
            return self._scales(output)
        found, self._features = self._features, []
        if len(found) != 1:
            raise UserError(
                f"{KEY}=True needs a decoder that is not compiled and uses its last layer once "
                f"in a pass; this one showed {len(found)} uses.",
                fix="Set execution.compile=None, or use another decode head.",
            )
        features = found[0]
        passes = self.options.passes
        first = self._classifiers[0]
        masks = random.dropout_masks(passes, first.in_channels, self._rate, features.device)
        logits = masked_logits(features, self._classifiers, masks)
        return views_disagreement(logits.chunk(passes, dim=1), logits.shape[-2:]).mean()

    @staticmethod
    def _scales(output: SegmentorOutput) -> Tensor:
        assert output.detail is not None
        fused = output.logits[0].logits
        hr = next(view.logits for view in output.logits if view.name == "hr")
        context = output.detail.context
        box = output.detail.box
        if box is not None:
            # The crop lies on both grids; HRDA's stride is the crop's size over its logits'.
            stride = (box.y1 - box.y0) / hr.shape[-2]
            ratio = fused.shape[-2] / context.shape[-2]
            rows, columns = box.scaled_slices(stride)
            fused = fused[..., rows, columns]
            rows, columns = box.scaled_slices(stride * ratio)
            context = context[..., rows, columns]
        return views_disagreement((fused, context, hr), hr.shape[-2:]).mean()
