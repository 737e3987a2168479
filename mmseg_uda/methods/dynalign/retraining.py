"""Supervised training on aligned labels, started from the source model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_uda.engine.checkpoint import newest_checkpoint
from mmseg_uda.engine.optim_wrapper import StepOptimWrapper
from mmseg_uda.engine.processes import copy_from_main
from mmseg_uda.engine.records import SourceBatch
from mmseg_uda.engine.supervised import Supervised, SupervisedOptions
from mmseg_uda.errors import UserError
from mmseg_uda.models.weights import load_with_rows
from mmseg_uda.taxonomy import load_taxonomy_map

CONFIDENCE = "confidence"
FULL = 255.0


@dataclass(frozen=True)
class RetrainingOptions(SupervisedOptions):
    """Options of :class:`Retraining`."""

    taxonomy_map: str = "mapillary_v5"
    """Name or path of the map."""
    source_checkpoint: str | None = None
    """Checkpoint of the source model, or the folder of its training; from it the network starts,
    and the classifier of a target class from that of the source class that it comes from. None
    starts from the encoder's own weights."""
    source_part: str = "model"
    """``'model'`` for the student, ``'ema_model'`` for the teacher."""
    confidence_weights: bool = False
    """Weigh every pixel by the probability with which its label was decided; needs
    ``LoadConfidence`` in the pipeline."""
    default_weight: float = 1.0
    """Weight of pixels where nothing was decided, which have the default label."""
    freeze_known: bool = False
    """Keep the classifiers of the known classes as they are in the source model."""

    def check(self) -> None:
        """Raises a ``UserError`` for values that cannot work."""
        super().check()
        useless = self.freeze_known and self.source_checkpoint is None
        self.require("freeze_known", not useless, "False, or the source model: source_checkpoint")
        self.require("default_weight", 0 <= self.default_weight <= 1, "a number in 0..1")


@MODELS.register_module()
class Retraining(Supervised):
    """Trains a segmentor of the target taxonomy on labels that an alignment has made.

    The recipe is ours: the original's is not released.

    Args:
        segmentor: Config of a segmentor with as many classes as the target taxonomy.
        config: Options of :class:`Trainer` and of :class:`RetrainingOptions`.

    Raises:
        UserError: Options, checkpoint, map and network do not fit together.
    """

    Options = RetrainingOptions

    def __init__(self, segmentor: dict, **config: Any) -> None:
        super().__init__(segmentor, **config)
        self.taxonomy_map = load_taxonomy_map(self.options.taxonomy_map)
        classes = len(self.taxonomy_map.target)
        if self.num_classes != classes:
            raise UserError(
                f"The network has {self.num_classes} classes, the target taxonomy of "
                f"'{self.taxonomy_map.name}' {classes}.",
                fix=f"Set model.decode_head.num_classes={classes}.",
            )
        self._frozen: list[tuple[Tensor, Tensor]] | None = None
        self._per_class: list[str] = []

    def init_weights(self) -> None:
        """Initialises the segmentor, then takes over what the source model has learnt."""
        super().init_weights()
        if self.options.source_checkpoint is None:
            return
        taxonomy, path = self.taxonomy_map, Path(self.options.source_checkpoint)
        self._per_class = load_with_rows(
            self.model,
            newest_checkpoint(path) if path.is_dir() else path,
            taxonomy.row_origins(),
            len(taxonomy.source),
            self.options.source_part,
        )
        copy_from_main(self.model.state_dict().values())

    def run_step(self, data: Mapping[str, Any], optim_wrapper: StepOptimWrapper) -> None:
        """Cross-entropy on the labelled batch."""
        if self.options.freeze_known and self._frozen is None:
            self._frozen = self._known_rows()
        super().run_step(data, optim_wrapper)

    def after_update(self) -> None:
        """Gives the classifiers of known classes their values again, where they stay."""
        # Written back instead of blocking gradients: weight decay would change the rows, too.
        with torch.no_grad():
            for parameter, kept in self._frozen or ():
                parameter[list(self.taxonomy_map.known_ids)] = kept
        super().after_update()

    def pixel_weight(self, source: SourceBatch) -> Tensor | None:
        """(B, H, W) float32 weights of a batch's labels: None counts every pixel alike.

        Raises:
            UserError: Weights are asked for, and the batch has no confidence.
        """
        if not self.options.confidence_weights:
            return None
        if CONFIDENCE not in source.fields:
            raise UserError(
                "uda.confidence_weights: the samples have no confidence.",
                fix="Put LoadConfidence behind LoadTrainIds, and align with confidence files.",
            )
        confidence = source.fields[CONFIDENCE].squeeze(1).float() / FULL
        return torch.where(confidence > 0, confidence, self.options.default_weight)

    def _known_rows(self) -> list[tuple[Tensor, Tensor]]:
        parameters = dict(self.model.named_parameters())
        rows = list(self.taxonomy_map.known_ids)
        found = [parameters[name] for name in self._per_class if name in parameters]
        return [(parameter, parameter.detach()[rows].clone()) for parameter in found]
