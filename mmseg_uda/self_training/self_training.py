"""The self-training host: DACS and DAFormer's step, open to components at every stage.

DACS: Tranheden et al., WACV 2021. DAFormer: Hoyer et al., CVPR 2022. Defaults are those of
the published DAFormer runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any

import torch
from mmengine.dist import get_rank
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmseg_uda.engine.optim_wrapper import StepOptimWrapper
from mmseg_uda.engine.panels import source_panels
from mmseg_uda.engine.records import (
    Normalization,
    SourceBatch,
    TargetBatch,
    source_batch,
    target_batch,
)
from mmseg_uda.engine.trainer import Trainer, batch_norm_advice
from mmseg_uda.errors import UserError
from mmseg_uda.models.head_outputs import check_class_scores, check_pixel_weights
from mmseg_uda.models.losses import averaged_over, pixel_losses
from mmseg_uda.models.sharing import frozen_in_common
from mmseg_uda.models.views import SegmentorOutput
from mmseg_uda.self_training.class_mix import choose_half, class_mask, mix, present_ids
from mmseg_uda.self_training.component import Losses, StepContext
from mmseg_uda.self_training.components import ComputeLosses, add_prefix
from mmseg_uda.self_training.image_changes import ImageChanges
from mmseg_uda.self_training.options import SelfTrainingOptions
from mmseg_uda.self_training.panels import mix_panels, pseudo_panels, target_panel
from mmseg_uda.self_training.random import StepRandom
from mmseg_uda.self_training.records import MixedBatch, PseudoLabels
from mmseg_uda.self_training.registry import build_components
from mmseg_uda.self_training.teacher import SHARES, EmaTeacher, margin_mask, pseudo_labels


@MODELS.register_module()
class SelfTraining(Trainer):
    """Source cross-entropy plus cross-entropy on class-mixed target images.

    Args:
        segmentor: Config of the segmentor (student; the teacher is a second one).
        seed: Seed of the step's random choices.
        config: Options of :class:`Trainer` and of :class:`SelfTrainingOptions`. Every further key
            is a component's config under its role: ``feature_distance``, ``masking``,
            ``relabel``, …; None switches one off.

    Raises:
        UserError: For an unknown key or a combination that cannot work.
    """

    Options = SelfTrainingOptions
    needs_target = True
    takes_components = True

    def __init__(self, segmentor: dict, *, seed: int = 0, **config: Any) -> None:
        known = signature(SelfTraining).parameters
        components = {key: config.pop(key) for key in list(config) if key not in known}
        super().__init__(segmentor, seed=seed, **config)
        if not self.options.source_only:
            check_class_scores(self.model, "SelfTraining")
            check_pixel_weights(self.model)
        self.random = StepRandom(seed, get_rank())
        self.image_changes = ImageChanges(self.options)
        self.teacher: EmaTeacher | None = None
        if not self.options.source_only:
            self.ema_model, self.teacher = self.build_teacher(self.options.alpha)
        self.components = build_components(components, known)
        self._check_options()
        self.components.bind(self)

    def _check_options(self) -> None:
        options = self.options
        if options.source_average is not None and not pixel_losses(self.model):
            raise UserError(
                f"uda.source_average={options.source_average!r} averages a PixelCrossEntropy, and "
                "the decode head has another loss.",
                fix="Leave it out, or set model.decode_head.loss_decode.type='PixelCrossEntropy'.",
            )
        role = self.components.makes_teacher_pass()
        if options.teacher_flip and role is not None:
            raise UserError(
                f"uda.teacher_flip=True does not reach the teacher's pass, which uda.{role} makes.",
                fix=f"Set uda.teacher_flip=False or uda.{role}=None.",
            )

    def build_teacher(self, alpha: float) -> tuple[nn.Module, EmaTeacher]:
        """A teacher network for the student, and its averaging."""
        network = frozen_in_common(self.model)
        options = self.options
        return network, EmaTeacher(network, alpha, options.teacher_norm, options.teacher_flip)

    def init_weights(self) -> None:
        """Initialises the student once; every other network starts as its copy."""
        self.init_student()
        if self.teacher is not None:
            self.ema_model.load_state_dict(self.model.state_dict())
        self.components.after_weights(self)

    def before_save(self) -> None:
        """Brings the components' counters of all processes together."""
        super().before_save()
        self.components.reduce()

    def check_sync_bn(self) -> None:
        """Raises a ``UserError`` if a component runs a network in some processes only."""
        self.components.check_sync_bn()

    def before_training(self, data: Dataset) -> None:
        """Shows the training data set to the components."""
        self.components.before_training(self, data)

    def run_step(self, data: Mapping[str, Any], optim_wrapper: StepOptimWrapper) -> None:
        """One step, from the teacher's update to the last backward pass."""
        self.random.begin_step(self._step, self._part)
        ctx = StepContext(
            self._step, self.random, self, self.log, self.draws, self._part, self.panels
        )
        learn = partial(self.learn, optim_wrapper)
        reached = self._step >= self.options.target_start
        source, target = self.read_batches(ctx, data, reached)

        if self.teacher is not None and ctx.part == 0:
            self.teacher.update(self.model, self._step)
        self.components.begin_step(ctx)

        pseudo = None
        if target is not None and not self.options.source_only:
            # First, so that what the labels ask for (CDDA's crops) is read beside the source pass.
            with optim_wrapper.optim_context(self), batch_norm_advice(target.image):
                pseudo = self.label_target(ctx, target)

        learn(partial(self.source_losses, ctx, source))

        if target is not None and pseudo is not None:
            pasted_from = self.components.choose_source(ctx, source, target, pseudo)
            mixed = self.compose(pasted_from, target, pseudo)
            self.components.after_mixing(ctx, mixed)
            for losses in self.components.target_losses(ctx, target, pseudo):
                learn(losses)
            learn(partial(self.mix_losses, ctx, mixed, source.normalization))

        if reached:
            for losses in self.components.late_losses(ctx, source, target, pseudo):
                learn(losses)

    def learn(self, optim_wrapper: StepOptimWrapper, compute: ComputeLosses) -> None:
        """Computes losses in the run's precision and adds their gradient to the step's."""
        with optim_wrapper.optim_context(self):
            losses = compute()
        if losses:
            self.backward(losses, optim_wrapper)

    def read_batches(
        self, ctx: StepContext, data: Mapping[str, Any], with_target: bool
    ) -> tuple[SourceBatch, TargetBatch | None]:
        """The step's records; no target where it takes no part, or there is none to take.

        Raises:
            UserError: A component needs a per-pixel map that a batch does not have.
        """
        preprocessor = self.model.data_preprocessor
        source = source_batch(data["source"], preprocessor)
        self.components.check_fields("source", source.fields)
        if ctx.draws:
            ctx.show(*source_panels(source))
        if not with_target or (self.options.source_only and "target" not in data):
            return source, None
        target = target_batch(data["target"], preprocessor)
        if not self.options.source_only:
            self.components.check_fields("target", target.fields)
        return source, target

    def source_losses(self, ctx: StepContext, source: SourceBatch) -> Losses:
        """Cross-entropy on the source images, and the components' losses on the same pass."""
        image = self.image_changes.weak(source.image, source.normalization, self.random)
        source = replace(source, image=image)
        output = self.forward_student(source.image)
        with averaged_over(self.model, self.options.source_average):
            losses = self.loss(output, source.label)
        return {**losses, **self.components.source_losses(ctx, source, output)}

    def mix_losses(
        self, ctx: StepContext, mixed: MixedBatch, normalization: Normalization
    ) -> Losses:
        """Weighted cross-entropy on the mixed images."""
        output = self.forward_student(mixed.image)
        if ctx.draws:
            ctx.show(*mix_panels(mixed, output, normalization))
        return add_prefix("mix", self.loss(output, mixed.label, mixed.weight))

    def forward_student(
        self, image: Tensor, choose_offset: Any = None, token_mask: Tensor | None = None
    ) -> SegmentorOutput:
        """The training forward of (B, 3, H, W); a detail crop's position is from ``random``."""
        choose_offset = choose_offset or self.random.crop_offset
        return super().forward_student(image, choose_offset, token_mask)

    def label_target(self, ctx: StepContext, target: TargetBatch) -> PseudoLabels:
        """Pseudo-labels of the host's teacher, refined, margins without weight."""
        assert self.teacher is not None
        if ctx.draws:
            ctx.show(target_panel(target))
        with torch.no_grad():
            # A component that needs more of the teacher than its logits makes the pass.
            logits = self.components.teacher_logits(ctx, target)
            if logits is None:
                logits = self.teacher.logits(target.image)
            pseudo = pseudo_labels(
                logits, self.options.pseudo_threshold, SHARES[self.options.pseudo_share]
            )
            pseudo = self.refine_labels(ctx, target, pseudo)
            pseudo = self.components.refine_weights(ctx, target, pseudo)
        pseudo = pseudo.masked(self.valid_pixels(target))
        if ctx.draws:
            ctx.show(*pseudo_panels(pseudo))
        return pseudo

    def refine_labels(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> PseudoLabels:
        """All components' label edits, for any teacher's labels."""
        return self.components.refine_labels(ctx, target, pseudo)

    def valid_pixels(self, target: TargetBatch) -> Tensor | None:
        """(B, H, W) float32 of 0 and 1: where pseudo-labels count; None means everywhere."""
        return margin_mask(
            target,
            self.options.pseudo_weight_ignore_top,
            self.options.pseudo_weight_ignore_bottom,
        )

    @torch.no_grad()
    def compose(self, source: SourceBatch, target: TargetBatch, pseudo: PseudoLabels) -> MixedBatch:
        """ClassMix and strong augmentation."""
        decisions = self.image_changes.decide(self.random, source.image.shape[0])
        # The ignore index becomes the id after the last class.
        ids = torch.where(source.label == self.ignore_index, self.num_classes, source.label)
        num_ids = self.num_classes + 1
        present = present_ids(ids, num_ids, self.options.class_pool)
        if not self.options.paste_ignored:
            present = present & (torch.arange(num_ids, device=present.device) < self.num_classes)
        ranks = self.random.class_ranks(ids.shape[0], num_ids, ids.device)
        weak = self.image_changes.weak(target.image, target.normalization, self.random)
        target = replace(target, image=weak)
        mixed = mix(source, target, pseudo, class_mask(ids, choose_half(present, ranks)))
        image = self.image_changes.strong(mixed.image, source.normalization, self.random, decisions)
        return replace(mixed, image=image)

    def _predictor(self) -> nn.Module:
        return self.ema_model if self.options.inference == "teacher" else self.model

    def val_step(self, data: Any) -> list:
        """Predicts with the student, or with the teacher where the option says so."""
        with self.execution.prediction():
            return self._predictor().val_step(data)

    def test_step(self, data: Any) -> list:
        """Predicts with the student, or with the teacher where the option says so."""
        with self.execution.prediction():
            return self._predictor().test_step(data)
