"""The self-training host: DACS and DAFormer's step, open to components at every stage.

DACS: Tranheden et al., WACV 2021. DAFormer: Hoyer et al., CVPR 2022. Defaults are those of
the published DAFormer runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import nn

from mmseg_uda.engine.optim_wrapper import StepOptimWrapper
from mmseg_uda.engine.records import SourceBatch, TargetBatch
from mmseg_uda.engine.trainer import batch_norm_advice
from mmseg_uda.errors import UserError
from mmseg_uda.self_training.class_mix import class_ids, half_of_classes, mix
from mmseg_uda.self_training.component import Losses, StepContext
from mmseg_uda.self_training.components import add_prefix
from mmseg_uda.self_training.host import ComponentHost
from mmseg_uda.self_training.options import SelfTrainingOptions
from mmseg_uda.self_training.panels import mix_panels, pseudo_panels
from mmseg_uda.self_training.records import MixedBatch, PseudoLabels
from mmseg_uda.self_training.teacher import SHARES, pseudo_labels


@MODELS.register_module()
class SelfTraining(ComponentHost):
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

    @property
    def adapts(self) -> bool:
        """Whether the target's images are learnt from."""
        return not self.options.source_only

    def build_networks(self) -> None:
        """Makes the teacher."""
        if self.adapts:
            self.ema_model, self.teacher = self.build_teacher(self.options.alpha)

    def _check_options(self) -> None:
        super()._check_options()
        role = self.components.makes_teacher_pass()
        if self.options.teacher_flip and role is not None:
            raise UserError(
                f"uda.teacher_flip=True does not reach the teacher's pass, which uda.{role} makes.",
                fix=f"Set uda.teacher_flip=False or uda.{role}=None.",
            )

    def init_weights(self) -> None:
        """Initialises the student once; every other network starts as its copy."""
        self.init_student()
        if self.teacher is not None:
            self.ema_model.load_state_dict(self.model.state_dict())
        self.components.after_weights(self)

    def run_step(self, data: Mapping[str, Any], optim_wrapper: StepOptimWrapper) -> None:
        """One step, from the teacher's update to the last backward pass."""
        ctx = self.begin_step()
        learn = partial(self.learn, optim_wrapper)
        reached = self._step >= self.options.target_start
        source, target = self.read_batches(ctx, data, reached)

        if self.teacher is not None and ctx.part == 0:
            self.teacher.update(self.model, self._step)
        self.components.begin_step(ctx)

        pseudo = None
        if target is not None and self.adapts:
            # First, so that what the labels ask for (CDDA's crops) is read beside the source pass.
            with optim_wrapper.optim_context(self), batch_norm_advice(target.image):
                pseudo = self.label_target(ctx, target)

        learn(lambda: self.source_losses(ctx, source)[0])

        if target is not None and pseudo is not None:
            pasted_from = self.components.choose_source(ctx, source, target, pseudo)
            mixed = self.compose(pasted_from, target, pseudo)
            self.components.after_mixing(ctx, mixed)
            for losses in self.components.target_losses(ctx, target, pseudo):
                learn(losses)
            learn(partial(self.mix_losses, ctx, mixed, source))

        if reached:
            for losses in self.components.late_losses(ctx, source, target, pseudo):
                learn(losses)

    def mix_losses(self, ctx: StepContext, mixed: MixedBatch, source: SourceBatch) -> Losses:
        """Weighted cross-entropy on the mixed images."""
        output = self.forward_student(mixed.image)
        if ctx.draws:
            ctx.show(*mix_panels(mixed, output, source.normalization))
        return add_prefix("mix", self.loss(output, mixed.label, mixed.weight))

    @torch.no_grad()
    def label_target(self, ctx: StepContext, target: TargetBatch) -> PseudoLabels:
        """Pseudo-labels of the host's teacher, refined, margins without weight."""
        assert self.teacher is not None
        # A component that needs more of the teacher than its logits makes the pass.
        logits = self.components.teacher_logits(ctx, target)
        if logits is None:
            logits = self.teacher.logits(target.image)
        share = SHARES[self.options.pseudo_share]
        pseudo = pseudo_labels(logits, self.options.pseudo_threshold, share)
        pseudo = self.refine_labels(ctx, target, pseudo)
        pseudo = self.components.refine_weights(ctx, target, pseudo)
        pseudo = pseudo.masked(self.valid_pixels(target))
        if ctx.draws:
            ctx.show(*pseudo_panels(pseudo))
        return pseudo

    @torch.no_grad()
    def compose(self, source: SourceBatch, target: TargetBatch, pseudo: PseudoLabels) -> MixedBatch:
        """ClassMix and strong augmentation."""
        decisions = self.image_changes.decide_together(self.random)
        ids = class_ids(source.label, self.num_classes, self.ignore_index)
        pasted = half_of_classes(ids, self.num_classes, self.options, self.random)
        weak = self.image_changes.weak(target.image, target.normalization, self.random)
        mixed = mix(source, replace(target, image=weak), pseudo, pasted)
        image = self.image_changes.strong(mixed.image, source.normalization, self.random, decisions)
        return replace(mixed, image=image)

    @property
    def evaluated(self) -> nn.Module:
        """The student, or the teacher where the option says so."""
        return self.ema_model if self.options.inference == "teacher" else self.model
