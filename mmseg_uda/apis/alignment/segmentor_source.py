"""A segmentor as the source of DynAlign's predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmseg_uda.apis.prediction import Predictor
from mmseg_uda.apis.segmentor import init_segmentor
from mmseg_uda.engine.config_file import load_network_config
from mmseg_uda.engine.testing import set_inference
from mmseg_uda.engine.tta import Augmentations
from mmseg_uda.errors import UserError
from mmseg_uda.foundation.lazy import weights_fingerprint
from mmseg_uda.methods.dynalign import SourcePrediction, SourcePredictor, fingerprint, nearest
from mmseg_uda.models.weights import is_published


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


def source_of_checkpoint(
    config: str | Path,
    checkpoint: str | Path,
    *,
    device: str | None = None,
    part: Literal["model", "ema_model"] = "model",
    inference_mode: str = "same",
    sequential: bool = False,
    hrda_output: str | None = None,
    augmentations: Augmentations | None = None,
    amp: str | None = None,
    cfg_options: Sequence[str] = (),
) -> SegmentorSource:
    """A source that is loaded only if an image has to be predicted.

    Args:
        config: Config file of a training or of a segmentor.
        checkpoint: See :func:`~mmseg_uda.apis.init_segmentor`.
        device: None takes the GPU if there is one.
        part: Student or teacher.
        inference_mode, sequential: See :func:`~mmseg_uda.engine.testing.set_inference`.
        hrda_output: ``LR`` or ``HR`` for the labels of one of HRDA's scales; None fuses them.
        augmentations: Average over these views.
        amp: ``bf16``, ``fp16`` or None.
        cfg_options: ``KEY=VALUE`` changes of the config.

    Raises:
        UserError: The config is missing or damaged.
    """
    cfg = load_network_config(str(config), list(cfg_options))
    set_inference(cfg, inference_mode, sequential)

    def load() -> Any:
        if not is_published(checkpoint) and not Path(checkpoint).is_file():
            raise UserError(
                f"There is no checkpoint {checkpoint} of the segmenter.",
                fix=f"Train {config}, or put a released checkpoint of that network there (the "
                "repositories of DAFormer, HRDA and MIC link theirs).",
            )
        model = init_segmentor(cfg, checkpoint, device, part=part)
        if hrda_output is not None:
            if not hasattr(model, "output_mode"):
                raise UserError(
                    f"--hrda-out {hrda_output}: the network is a {type(model).__name__}, no HRDA.",
                    fix="Leave --hrda-out out.",
                )
            model.output_mode = hrda_output
        return model

    views = None if augmentations is None else [list(augmentations.scales), augmentations.flip]
    key = fingerprint(
        weights=weights_fingerprint(str(checkpoint)),
        model=repr(cfg.model),
        pipeline=repr(cfg.get("test_pipeline") or cfg.get("test_dataloader")),
        part=part,
        hrda_output=hrda_output,
        views=views,
        amp=amp,
    )
    return SegmentorSource(load, key, amp, augmentations)
