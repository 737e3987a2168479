"""A segmentor as the source of DynAlign's predictions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_uda.apis.prediction import Predictor
from mmseg_uda.engine.tta import Augmentations
from mmseg_uda.errors import UserError
from mmseg_uda.methods.dynalign import SourcePrediction, SourcePredictor, nearest


class SegmentorSource(SourcePredictor):
    """Predicts with a segmentor of mmsegmentation, in eval mode, built at first use.

    Args:
        load: Returns the segmentor, as ``init_segmentor`` does.
        key: Names the weights and everything else that its predictions depend on.
        amp: See :class:`~mmseg_uda.apis.Predictor`.
        augmentations: See :class:`~mmseg_uda.apis.Predictor`.
    """

    def __init__(
        self,
        load: Callable[[], Any],
        key: str,
        amp: str | None = None,
        augmentations: Augmentations | None = None,
    ) -> None:
        self._load = load
        self._key = key
        self._amp, self._augmentations = amp, augmentations
        self._model: Any = None
        self._predictors: dict[bool, Predictor] = {}

    def key(self, path: Path, name: str) -> str:
        """Weights, network and options."""
        return f"segmentor-{self._key}"

    def prepare(self) -> None:
        """Builds the segmentor.

        Raises:
            UserError: Config, checkpoint and options do not fit together.
        """
        if self._model is not None:
            return
        model = self._load().eval()
        training = [name for name, module in model.named_modules() if module.training]
        if training:
            raise UserError(f"The segmentor's {training[0]!r} stays in training mode.")
        self._model = model

    def predict(
        self,
        image: np.ndarray,
        name: str,
        shape: tuple[int, int],
        resize: str = "logits",
        probabilities: bool = False,
    ) -> SourcePrediction:
        """See :class:`SourcePredictor`."""
        predictor = self._predictor(probabilities)
        sample = predictor.prepare(image, name)
        if resize == "logits":
            # Predictions get the size that the sample calls its original one.
            views = sample["data_samples"]
            for view in views if isinstance(views, list) else [views]:
                view.set_metainfo({"ori_shape": tuple(shape)})
        (found,) = predictor([sample])
        soft = found.probabilities
        if soft is not None:
            soft = np.stack([nearest(plane, shape) for plane in soft])
        return SourcePrediction(nearest(found.label, shape), soft)

    def _predictor(self, probabilities: bool) -> Predictor:
        self.prepare()
        if probabilities not in self._predictors:
            self._predictors[probabilities] = Predictor(
                self._model,
                amp=self._amp,
                augmentations=self._augmentations,
                probabilities=probabilities,
            )
        return self._predictors[probabilities]
