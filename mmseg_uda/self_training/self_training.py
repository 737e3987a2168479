"""The self-training host: DACS and DAFormer's step, open to components at every stage.

DACS: Tranheden et al., WACV 2021. DAFormer: Hoyer et al., CVPR 2022. Defaults are those of
the published DAFormer runs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from inspect import signature
from typing import Any

import torch
from mmengine.dist import get_rank
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmseg_uda.engine.optim_wrapper import StepOptimWrapper
from mmseg_uda.engine.options import check_choice
from mmseg_uda.engine.panels import source_panels
from mmseg_uda.engine.records import source_batch, target_batch
from mmseg_uda.engine.trainer import Trainer, batch_norm_advice
from mmseg_uda.errors import UserError
from mmseg_uda.models.views import SegmentorOutput
from mmseg_uda.self_training.augmentation import strong_augmentation
from mmseg_uda.self_training.class_mix import choose_half, class_mask, mix, present_ids
from mmseg_uda.self_training.component import Component, StepContext
from mmseg_uda.self_training.panels import mix_panels, target_panels
from mmseg_uda.self_training.random import StepRandom
from mmseg_uda.self_training.records import MixedBatch, PseudoLabels, SourceBatch, TargetBatch
from mmseg_uda.self_training.registry import build_components
from mmseg_uda.self_training.teacher import SHARES, EmaTeacher, margin_mask, pseudo_labels


@MODELS.register_module()
class SelfTraining(Trainer):
    """Source cross-entropy plus cross-entropy on class-mixed target images.

    Args:
        segmentor: Config of the segmentor (student; the teacher is a second one).
        alpha: Decay of the teacher's average. DAFormer 0.999, DACS 0.99.
        pseudo_threshold: Teacher probability from which a pixel counts as confident.
        pseudo_share: ``batch``: one share of confident pixels for the batch, as the published
            code does; ``per_image``: one per image, as the DAFormer paper writes.
        pseudo_weight_ignore_top: Crop rows at the top without weight (Cityscapes at half
            resolution: 15).
        pseudo_weight_ignore_bottom: Crop rows at the bottom without weight (there: 120).
        class_pool: ``batch``: half of the classes of the whole batch are pasted, as the code
            does; ``per_image``: half of the image's own, as the DACS paper writes.
        paste_ignored: Whether unlabelled source pixels count as a class that can be pasted, as
            in the code.
        jitter_probability: Effective probability of colour jitter on mixed images. The
            published configs say 0.2 for the probability of *not* jittering.
        jitter_strength: Half width of the jitter factors' range.
        blur_probability: Probability of blurring mixed images.
        target_start: Steps of source training before the target takes part. 0 in all published
            runs.
        source_only: No pseudo-labels and no mixing; late losses still run (supervised MIC).
        teacher_norm: ``batch``: the teacher's BatchNorm uses the statistics of the target
            batch, as in the code; ``running``: the student's running statistics.
        inference: ``student`` (published numbers) or ``teacher``.
        seed: Seed of the step's random choices.
        taxonomy: Label space by name or file, for components that need class names.
        max_iters: Length of the run, filled in from ``train_cfg``.
        execution: How the networks are run on the machine.
        components: Every further key is a component's config under its role:
            ``feature_distance``, ``masking``, ``relabel``, …; None switches one off.

    Raises:
        UserError: For an unknown key or a combination that cannot work.
    """

    needs_target = True

    def __init__(
        self,
        segmentor: dict,
        *,
        alpha: float = 0.999,
        pseudo_threshold: float = 0.968,
        pseudo_share: str = "batch",
        pseudo_weight_ignore_top: int = 0,
        pseudo_weight_ignore_bottom: int = 0,
        class_pool: str = "batch",
        paste_ignored: bool = True,
        jitter_probability: float = 0.8,
        jitter_strength: float = 0.2,
        blur_probability: float = 0.5,
        target_start: int = 0,
        source_only: bool = False,
        teacher_norm: str = "batch",
        inference: str = "student",
        seed: int = 0,
        taxonomy: str | None = None,
        max_iters: int = 0,
        execution: dict | None = None,
        **components: dict | None,
    ) -> None:
        super().__init__(segmentor, taxonomy, max_iters, seed, execution)
        check_choice("uda.pseudo_share", pseudo_share, SHARES)
        check_choice("uda.class_pool", class_pool, ("batch", "per_image"))
        check_choice("uda.teacher_norm", teacher_norm, ("batch", "running"))
        check_choice("uda.inference", inference, ("student", "teacher"))
        self.pseudo_threshold = pseudo_threshold
        self.pseudo_share = pseudo_share
        self.ignore_rows = (pseudo_weight_ignore_top, pseudo_weight_ignore_bottom)
        self.class_pool = class_pool
        self.paste_ignored = paste_ignored
        self.jitter_probability = jitter_probability
        self.jitter_strength = jitter_strength
        self.blur_probability = blur_probability
        self.target_start = target_start
        self.source_only = source_only
        self.inference = inference
        self.alpha = alpha
        self.teacher_norm = teacher_norm
        self.random = StepRandom(seed, get_rank())
        self.teacher: EmaTeacher | None = None
        if not source_only:
            self.ema_model, self.teacher = self.build_teacher(alpha)
        self.components = build_components(components, signature(SelfTraining).parameters)
        for component in self.active_components:
            component.bind(self)

    def build_teacher(self, alpha: float) -> tuple[nn.Module, EmaTeacher]:
        """A teacher network for the student, and its averaging."""
        network = copy.deepcopy(self.model)
        return network, EmaTeacher(network, alpha, self.teacher_norm)

    @property
    def active_components(self) -> list[Component]:
        """Components in the order in which they run."""
        return list(self.components.values())  # type: ignore[arg-type]

    def init_weights(self) -> None:
        """Initialise the student once; every other network starts as its copy."""
        self.init_student()
        if self.teacher is not None:
            self.ema_model.load_state_dict(self.model.state_dict())
        for component in self.active_components:
            component.after_weights(self)

    def before_save(self) -> None:
        """Bring the components' counters of all processes together."""
        super().before_save()
        for component in self.active_components:
            component.reduce()

    def check_sync_bn(self) -> None:
        """Raise a ``UserError`` if a component runs a network in some processes only."""
        for role, component in self.components.items():
            if component.runs_alone:
                raise UserError(
                    f"sync_bn does not go together with uda.{role}, which runs the network in "
                    "some processes only: the others would wait for ever.",
                    "Leave sync_bn out; running statistics are averaged over the processes.",
                )

    def before_training(self, data: Dataset) -> None:
        """Show the training data set to the components."""
        for component in self.active_components:
            component.before_training(self, data)

    def run_step(self, data: Mapping[str, Any], optim_wrapper: StepOptimWrapper) -> None:
        """One step, from the teacher's update to the last backward pass."""
        ctx = StepContext(self._step, self.random, self, self.log, self.draws, self._part)
        self._run_stages(ctx, data, optim_wrapper)
        if ctx.draws:
            for component in self.active_components:
                self.panels += component.panels(ctx)

    def _run_stages(
        self, ctx: StepContext, data: Mapping[str, Any], optim_wrapper: StepOptimWrapper
    ) -> None:
        self.random.begin_step(ctx.step, ctx.part)
        preprocessor = self.model.data_preprocessor
        source = source_batch(data["source"], preprocessor)
        self._check_fields("source", source.fields)
        if ctx.draws:
            self.panels += source_panels(source)

        if self.teacher is not None and ctx.part == 0:
            self.teacher.update(self.model, self._step)
        for component in self.active_components:
            component.begin_step(ctx)

        target = pseudo = None
        reached = self._step >= self.target_start
        if reached and (not self.source_only or "target" in data):
            target = target_batch(data["target"], preprocessor)
        if target is not None and not self.source_only:
            self._check_fields("target", target.fields)
            # First, so that what the labels ask for (CDDA's crops) is read beside the source pass.
            with optim_wrapper.optim_context(self), batch_norm_advice(target.image):
                pseudo = self.label_target(ctx, target)

        with optim_wrapper.optim_context(self):
            output = self.forward_student(source.image)
            losses = self.loss(output, source.label)
            for component in self.active_components:
                losses |= add_prefix("src", component.source_losses(ctx, source, output))
        self.backward(losses, optim_wrapper)
        del output, losses
        if target is not None and pseudo is not None:
            self._train_on_target(ctx, source, target, pseudo, optim_wrapper)
        if reached:
            self._late_losses(ctx, source, target, pseudo, optim_wrapper)

    def _train_on_target(
        self,
        ctx: StepContext,
        source: SourceBatch,
        target: TargetBatch,
        pseudo: PseudoLabels,
        optim_wrapper: StepOptimWrapper,
    ) -> None:
        with optim_wrapper.optim_context(self):
            pasted_from = source
            for component in self.active_components:
                pasted_from = component.choose_source(ctx, pasted_from, target, pseudo)
            mixed = self.compose(pasted_from, target, pseudo)
            for component in self.active_components:
                component.after_mixing(ctx, mixed)

            for component in self.active_components:
                extra = component.target_losses(ctx, target, pseudo)
                if extra:
                    self.backward(extra, optim_wrapper)
                del extra  # its graph must not live through the mix loss

            output = self.forward_student(mixed.image)
            mix_loss = self.loss(output, mixed.label, mixed.weight)
        self.backward(add_prefix("mix", mix_loss), optim_wrapper)
        if ctx.draws:
            self.panels += target_panels(target, pseudo) + mix_panels(mixed, output, source)

    def _check_fields(self, domain: str, fields: Mapping[str, Tensor]) -> None:
        for role, component in self.components.items():
            for name in getattr(component, f"{domain}_fields"):
                if name not in fields:
                    raise UserError(
                        f"uda.{role} needs the per-pixel map {name!r} of the {domain} images, "
                        "which the data set does not give.",
                        f"Add a transform that loads it to train_dataloader.dataset.{domain}."
                        "pipeline and lists it in seg_fields.",
                    )

    def forward_student(self, image: Tensor, choose_offset: Any = None) -> SegmentorOutput:
        """The student's training forward; a detail crop's position comes from ``random``."""
        return super().forward_student(image, choose_offset or self.random.crop_offset)

    def label_target(self, ctx: StepContext, target: TargetBatch) -> PseudoLabels:
        """Pseudo-labels of the host's teacher, refined, margins without weight."""
        share = SHARES[self.pseudo_share]
        with torch.no_grad():
            logits = self.teacher_logits(ctx, target)
            pseudo = pseudo_labels(logits, self.pseudo_threshold, share)
            pseudo = self.refine_labels(ctx, target, pseudo)
            for component in self.active_components:
                pseudo = component.refine_weights(ctx, target, pseudo)
        return pseudo.masked(self.valid_pixels(target))

    def teacher_logits(self, ctx: StepContext, target: TargetBatch) -> Tensor:
        """(B, C, H, W) float32: the teacher's pass, made by a component that needs more of it."""
        assert self.teacher is not None
        for component in self.active_components:
            logits = component.teacher_logits(ctx, target)
            if logits is not None:
                return logits
        return self.teacher.logits(target.image)

    def refine_labels(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> PseudoLabels:
        """All components' label edits, for any teacher's labels."""
        for component in self.active_components:
            pseudo = component.refine_labels(ctx, target, pseudo)
        return pseudo

    def valid_pixels(self, target: TargetBatch) -> Tensor | None:
        """(B, H, W) float32 of 0 and 1: where pseudo-labels count; None means everywhere."""
        return margin_mask(target, *self.ignore_rows)

    @torch.no_grad()
    def compose(self, source: SourceBatch, target: TargetBatch, pseudo: PseudoLabels) -> MixedBatch:
        """ClassMix and strong augmentation."""
        jitter = self.random.apply_color_jitter(self.jitter_probability)
        blur = self.random.apply_blur(self.blur_probability)
        # The ignore index becomes the id after the last class.
        ids = torch.where(source.label == self.ignore_index, self.num_classes, source.label)
        num_ids = self.num_classes + 1
        present = present_ids(ids, num_ids, self.class_pool)
        if not self.paste_ignored:
            present = present & (torch.arange(num_ids, device=present.device) < self.num_classes)
        ranks = self.random.class_ranks(ids.shape[0], num_ids, ids.device)
        mixed = mix(source, target, pseudo, class_mask(ids, choose_half(present, ranks)))
        image = strong_augmentation(
            mixed.image,
            source.normalization,
            self.random,
            jitter=jitter,
            blur=blur,
            jitter_strength=self.jitter_strength,
        )
        return replace(mixed, image=image)

    def _late_losses(
        self,
        ctx: StepContext,
        source: SourceBatch,
        target: TargetBatch | None,
        pseudo: PseudoLabels | None,
        optim_wrapper: StepOptimWrapper,
    ) -> None:
        for component in self.active_components:
            with optim_wrapper.optim_context(self):
                losses = component.late_losses(ctx, source, target, pseudo)
            if losses:
                self.backward(losses, optim_wrapper)

    def _predictor(self) -> nn.Module:
        return self.ema_model if self.inference == "teacher" else self.model

    def val_step(self, data: Any) -> list:
        """Predict with the student, or with the teacher where the option says so."""
        with self.execution.prediction():
            return self._predictor().val_step(data)

    def test_step(self, data: Any) -> list:
        """Predict with the student, or with the teacher where the option says so."""
        with self.execution.prediction():
            return self._predictor().test_step(data)


def add_prefix(prefix: str, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put ``prefix.`` before every key."""
    return {f"{prefix}.{name}": value for name, value in losses.items()}
