"""The trainer of SRHA (Jiao et al., Neural Networks 2025; arXiv 2404.13701, there called SRMA)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from mmengine.dist import get_rank
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_uda.engine.optim_wrapper import StepOptimWrapper
from mmseg_uda.engine.records import SourceBatch, source_batch
from mmseg_uda.engine.trainer import Trainer, batch_norm_advice
from mmseg_uda.errors import UserError
from mmseg_uda.methods.srha.alignment import HierarchicalAlignmentLoss
from mmseg_uda.methods.srha.consistency import js_consistency
from mmseg_uda.methods.srha.options import SrhaOptions
from mmseg_uda.methods.srha.panels import StepRecord, step_panels
from mmseg_uda.methods.srha.rearrangement import normalize_log_weights, rearrange
from mmseg_uda.methods.srha.regions import Regions, RegionsBySize
from mmseg_uda.methods.srha.teacher import FrozenTeacher
from mmseg_uda.models.backbones import StagedBackbone
from mmseg_uda.models.head_outputs import check_class_scores
from mmseg_uda.models.views import SegmentorOutput, decode_features, full_prediction
from mmseg_uda.self_training.random import StepRandom


@MODELS.register_module()
class SRHA(Trainer):
    """Cross-entropy on labelled images and on copies whose regions exchanged their styles.

    Behind the stem, every image gets a copy in which each region of one class has the style of
    another region (:func:`rearrange`). The features of both stay close to the original's in the
    ImageNet network, and their predictions close to each other. Style elimination is the
    encoder's (``model.backbone.standardize``), the frozen stem as well
    (``model.backbone.frozen_stages``).

    Args:
        segmentor: Config of a segmentor with a ``StagedBackbone``.
        seed: Seed of the step's random choices.
        config: Options of :class:`Trainer` and of :class:`SrhaOptions`.

    Raises:
        UserError: For an impossible option, or an encoder that is not in stages.
    """

    phases: ClassVar[Mapping[str, str]] = {
        "restyle": "rearrangement",
        "reference_features": "teacher forward",
        "forward_stages": "student forward",
        "alignment_losses": "alignment",
        "consistency_loss": "consistency",
    }

    Options = SrhaOptions

    def __init__(self, segmentor: dict, *, seed: int = 0, **config: Any) -> None:
        super().__init__(segmentor, seed=seed, **config)
        check_class_scores(self.model, "SRHA")
        if not isinstance(self.model.backbone, StagedBackbone):
            raise UserError(
                f"SRHA works between stem and stages of an encoder, which "
                f"{type(self.model.backbone).__name__} does not offer.",
                fix="Use a model of configs/_base_/networks whose backbone is a StagedBackbone, "
                "such as deeplabv3plus_r50-os16.py.",
            )
        options = self.options
        self.alignment = HierarchicalAlignmentLoss(
            options.alignment_levels, options.alignment_layers, options.alignment_weights
        )
        self.random = StepRandom(seed, get_rank())
        self.teacher: FrozenTeacher | None = None
        if self.alignment.layers:
            self.teacher = FrozenTeacher(self.model.backbone, options.teacher_bn, options.alpha)
            if self.teacher.averages:
                self.ema_backbone = self.teacher.network  # what was averaged must survive a resume

    def init_weights(self) -> None:
        """Initialises the student; the teacher is its encoder as initialised, in a resume too."""
        self.init_student()
        if self.teacher is not None:
            self.teacher.take_weights(self.model.backbone, self.execution.frozen_type)

    def run_step(self, data: Mapping[str, Any], optim_wrapper: StepOptimWrapper) -> None:
        """One step with one backward pass."""
        self.random.begin_step(self._step, self._part)
        source = source_batch(data["source"], self.model.data_preprocessor)
        batch = len(source.image)
        regions = RegionsBySize(source.label, self.num_classes, self.options.ignore_as_region)
        backbone = self.model.backbone
        if self.teacher is not None:
            if self._part == 0:
                self.teacher.update(backbone, self._step)
            self.teacher.set_modes(backbone)
        with optim_wrapper.optim_context(self), batch_norm_advice(source.image):
            stem = backbone.forward_stem(source.image)
            weights = None
            maps = stem
            if self.options.rearrangement:
                weights = self.draw_weights(regions.of(stem).present)
                maps = self.restyle(stem, regions.of(stem), weights)
            maps = backbone.standardize(maps)
            reference = self.reference_features(source, maps, regions, weights)
            features, output = self.forward_stages(maps)
            label = source.label.repeat(len(maps) // batch, 1, 1)
            losses = self.loss(output, label)
            distances = self.alignment_losses(features, reference, regions, losses)
            if self.options.rearrangement and self.options.consistency_weight > 0:
                losses["srha.loss_consistency"] = self.consistency_loss(output, source)
        self.backward(losses, optim_wrapper)
        if self.draws:
            record = StepRecord(source, regions, weights, features, reference, output, distances)
            self.panels = step_panels(record)

    def draw_weights(self, present: Tensor) -> Tensor:
        """Mixing weights (B, R, R) for regions (B, R) that are present, from the step's numbers."""
        shape = (*present.shape, present.shape[-1])
        drawn = self.random.log_gamma(self.options.concentration, shape, present.device)
        return normalize_log_weights(drawn, present)

    def restyle(self, stem: Tensor, regions: Regions, weights: Tensor) -> Tensor:
        """The stem's maps (B, C, h, w) and behind them their copies in other styles, (2·B, …)."""
        return torch.cat([stem, rearrange(stem, regions, weights)])

    @torch.no_grad()
    def reference_features(
        self, source: SourceBatch, maps: Tensor, regions: RegionsBySize, weights: Tensor | None
    ) -> dict[int, Tensor]:
        """The teacher's maps of the original images by stage; empty without alignment.

        Args:
            source: The batch.
            maps: (k·B, C, h, w), the student's standardised maps of the stem.
            regions: The images' regions.
            weights: The mixing weights of the student's copies, None without copies.
        """
        if self.teacher is None:
            return {}
        batch, inputs = len(source.image), self.options.teacher_inputs
        redraws = weights is not None and inputs == "independent"
        if self.shares_stem and not redraws:
            seen = maps[:batch] if inputs == "original" else maps
            return self.teacher.features(seen, self.alignment.layers, batch)
        own = self.teacher.stem(source.image)
        if weights is not None and inputs != "original":
            found = regions.of(own)
            own = self.restyle(own, found, self.draw_weights(found.present) if redraws else weights)
        standardized = self.teacher.network.standardize(own)
        return self.teacher.features(standardized, self.alignment.layers, batch)

    @property
    def shares_stem(self) -> bool:
        """Whether the teacher's stem is the student's: frozen, and no average."""
        trained = any(p.requires_grad for p in self.model.backbone.stem.parameters())
        return self.teacher is not None and not self.teacher.averages and not trained

    def forward_stages(self, maps: Tensor) -> tuple[dict[int, Tensor], SegmentorOutput]:
        """The student behind its stem: maps by stage, and the decoders' output.

        Args:
            maps: (k·B, C, h, w), standardised.
        """
        stages = self.model.backbone.forward_stages(maps)
        decoded = self.model.neck(stages) if self.model.with_neck else stages
        return dict(enumerate(stages, 1)), decode_features(self.model, decoded)

    def alignment_losses(
        self,
        features: Mapping[int, Tensor],
        reference: Mapping[int, Tensor],
        regions: RegionsBySize,
        losses: dict[str, Tensor],
    ) -> dict[str, dict[int, Tensor]]:
        """Adds ``srha.loss_<level>`` to ``losses`` and logs ``srha.<level>.layer<l>``.

        Returns:
            The distances without factors, by level and stage.
        """
        if not reference:
            return {}
        distances = self.alignment.distances(features, reference, regions)
        for level, total in self.alignment.total(distances).items():
            losses[f"srha.loss_{level}"] = total
            for layer, distance in distances[level].items():
                self.log(f"srha.{level}.layer{layer}", distance)
        return distances

    def consistency_loss(self, output: SegmentorOutput, source: SourceBatch) -> Tensor:
        """Divergence (0-dim) of the predictions for images and for their copies, at full size."""
        size = source.label.shape[-2:]

        def predict(rows: slice) -> Tensor:
            return full_prediction(self.model, _rows(output, rows), size)

        return js_consistency(predict, len(source.label), self.options.consistency_weight)


def _rows(output: SegmentorOutput, rows: slice) -> SegmentorOutput:
    """Some images of the main prediction."""
    main = replace(output.logits[0], logits=output.logits[0].logits[rows])
    masks = output.masks
    if masks is not None:
        masks = replace(masks, classes=(masks.classes[-1][rows],), masks=(masks.masks[-1][rows],))
    return SegmentorOutput((main,), (), masks=masks)
