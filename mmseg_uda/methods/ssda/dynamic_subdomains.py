"""SSDA's component: seeds of each target image learn, the rest follows its similar seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mmseg_uda.engine.options import read_group
from mmseg_uda.engine.panels import BarsPanel, LabelPanel, MapPanel
from mmseg_uda.engine.records import TargetBatch
from mmseg_uda.errors import UserError
from mmseg_uda.methods.ssda.crf import crf_energy, truncated_crf_loss
from mmseg_uda.methods.ssda.crf_inputs import CrfInputs
from mmseg_uda.methods.ssda.opinions import OpinionPass, resolve_source
from mmseg_uda.methods.ssda.options import (
    KEY,
    CrfOptions,
    SubdomainOptions,
    UncertaintyOptions,
)
from mmseg_uda.methods.ssda.priors import quotas, source_prior
from mmseg_uda.methods.ssda.seeds import GTA_PRIOR, seed_mask, seed_ratios
from mmseg_uda.methods.ssda.student_uncertainty import StudentUncertainty
from mmseg_uda.self_training.component import Component, Host, StepContext
from mmseg_uda.self_training.records import MixedBatch, PseudoLabels
from mmseg_uda.self_training.registry import COMPONENTS


@dataclass
class _Notes:
    """What the stages of one step leave for the losses.

    Attributes:
        uncertainty: (B, H, W) float32 in bits, the teacher's.
        pasted: (B, H, W) bool, of the mixed image; None where no weight depends on it.
    """

    uncertainty: Tensor
    pasted: Tensor | None = None


@COMPONENTS.register_module()
class DynamicSubdomains(Component):
    """Dynamic subdomains (SSDA, IEEE TMM 2024, doi 10.1109/TMM.2024.3355629).

    In every step the pixels of the unmixed target images are split: the surest of each predicted
    class, more of a class that the source shows rarely, are seeds. Seeds learn the teacher's
    label; a truncated CRF pulls the other pixels to seeds of similar colour nearby. Defaults are
    those of the preset ``ssda``, which is the method; the released code runs something else
    (preset ``ssda_released``), see the card. Without a wait for the device; quotas are counted
    in each process by itself.
    """

    Options = SubdomainOptions
    order = 30
    quota_by_class: Tensor
    opinion_pass: OpinionPass
    _names: tuple[str, ...] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.uncertainty_options = read_group(UncertaintyOptions, self.options.uncertainty)
        self.crf = read_group(CrfOptions, self.options.crf)
        self.register_buffer("quota_by_class", torch.zeros(0), persistent=False)

    def bind(self, host: Host) -> None:
        """Chooses the uncertainty for the network and computes the quotas."""
        if host.options.source_only:
            raise UserError(
                "uda.source_only=True leaves subdomains without target images.",
                fix=f"Set {KEY}=None.",
            )
        source = resolve_source(self.uncertainty_options, host.model)
        self.opinion_pass = OpinionPass(self.uncertainty_options, source, self.options.pseudo_from)
        self._student_uncertainty: StudentUncertainty | None = None
        if self.options.uncertainty_grad:
            self._student_uncertainty = StudentUncertainty(
                self.uncertainty_options, source, host.model
            )
        self._check_losses(host)
        if self.options.class_prior == "gta_pycda":
            self._use_prior(host, GTA_PRIOR)
        elif not isinstance(self.options.class_prior, str):
            self._use_prior(host, self.options.class_prior)

    def _check_losses(self, host: Host) -> None:
        head = host.model.decode_head
        branches = getattr(head, "hr_loss_weight", 0) > 0 or host.model.with_auxiliary_head
        learns = (
            self.options.seed_loss_weight,
            self.options.branch_seed_loss and branches,
            self.options.crf_loss_weight,
            self.options.uncertainty_grad and self.options.uncertainty_loss_weight,
        )
        if not self.options.target_weight or not any(learns):
            raise UserError(
                f"No loss of {KEY} has a weight above 0 and a gradient.",
                fix=f"Set {KEY}=None, or a weight above 0.",
            )

    def before_training(self, host: Host, data: Dataset) -> None:
        """Counts the source's classes, where the prior comes from them."""
        if self.options.class_prior == "source_stats":
            self._use_prior(host, source_prior(data))
        if host.taxonomy is None:
            self._names = tuple(getattr(data, "metainfo", {}).get("classes", ()))

    def _use_prior(self, host: Host, prior: Sequence[float]) -> None:
        options = self.options
        quota = quotas(prior, host.num_classes, options.quota, options.beta, options.absent_class)
        self.quota_by_class = quota.to(self.quota_by_class.device)

    def teacher_logits(self, ctx: StepContext, target: TargetBatch) -> Tensor:
        """The teacher's logits (B, C, H, W); its uncertainty is noted."""
        teacher = ctx.host.teacher
        assert teacher is not None
        opinion = self.opinion_pass(teacher, target.image, ctx.random)
        ctx.notes[self] = _Notes(opinion.uncertainty)
        return opinion.logits

    def after_mixing(self, ctx: StepContext, mixed: MixedBatch) -> None:
        """Keeps where source pixels were pasted, if the weights depend on it."""
        if self.options.weight_map == "mixed_alias":
            self._notes(ctx).pasted = mixed.pasted

    def target_losses(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> dict[str, Tensor]:
        """Seed loss, uncertainty and CRF loss on the unmixed target images."""
        host, options = ctx.host, self.options
        notes = self._notes(ctx)
        uncertainty = notes.uncertainty
        valid = host.valid_pixels(target)
        seeds = self._seeds(uncertainty, pseudo.label, valid)
        watch = self._student_uncertainty
        if watch is None:
            output = host.forward_student(target.image)
            disagreement = uncertainty.mean()
        else:
            with watch.observing(host.model):
                output = host.forward_student(target.image)
            disagreement = watch.mean(output, ctx.random)

        main, *branches = output.logits
        losses: dict[str, Tensor] = {}
        weight = self._pixel_weight(pseudo, valid, notes.pasted) * seeds
        for views, factor in (
            ((main,), options.seed_loss_weight),
            (tuple(branches), float(options.branch_seed_loss)),
        ):
            if views and factor > 0:
                part = replace(output, logits=views)
                for name, value in host.loss(part, pseudo.label, weight).items():
                    scaled = value * (options.target_weight * factor) if "loss" in name else value
                    losses[f"target.{name}"] = scaled
        share = options.target_weight * main.weight
        if options.uncertainty_loss_weight > 0:
            factor = share * options.uncertainty_loss_weight
            losses["target.loss_uncertainty"] = factor * disagreement
        if options.crf_loss_weight > 0:
            crf = CrfInputs.create(self.crf, main.logits, target, seeds, valid)
            energy = truncated_crf_loss(
                *crf.maps, **crf.options, detach_source=self.crf.detach_source
            )
            losses["target.loss_crf"] = share * options.crf_loss_weight * energy
            ctx.log("ssda.crf_cells", crf.active)
        self._log(ctx, uncertainty, pseudo, seeds)
        if ctx.draws:
            crf = CrfInputs.create(self.crf, main.logits.detach(), target, seeds, valid)
            self._show(ctx, uncertainty, pseudo, seeds, crf)
        return losses

    def _notes(self, ctx: StepContext) -> _Notes:
        if self not in ctx.notes:
            raise UserError(
                f"{KEY} did not make the teacher's pass: another component did.",
                fix="Use one component that answers teacher_logits.",
            )
        return ctx.notes[self]

    def _seeds(self, uncertainty: Tensor, label: Tensor, valid: Tensor | None) -> Tensor:
        if not self.quota_by_class.numel():
            raise UserError(
                f"{KEY}.class_prior='source_stats' needs the training data set, which this "
                "training loop does not show (train_cfg.type='TrainLoop' does).",
                fix=f"Give {KEY}.class_prior one number per class.",
            )
        return seed_mask(
            uncertainty,
            label,
            self.quota_by_class,
            min_pixels=self.options.min_pixels,
            scope=self.options.scope,
            ties=self.options.ties,
            valid=valid if self.options.quota_valid_only else None,
        )

    def _pixel_weight(
        self, pseudo: PseudoLabels, valid: Tensor | None, pasted: Tensor | None
    ) -> Tensor:
        weight = pseudo.weight
        if not self.options.use_confidence_weight:
            weight = torch.ones_like(weight) if valid is None else valid.to(weight)
        return weight if pasted is None else torch.where(pasted, 1.0, weight)

    def _log(
        self, ctx: StepContext, uncertainty: Tensor, pseudo: PseudoLabels, seeds: Tensor
    ) -> None:
        ctx.log("ssda.uncertainty", uncertainty.mean())
        ctx.log("ssda.seed_ratio", seeds.float().mean())
        ctx.log("ssda.q", pseudo.share.mean())
        if self.options.debug_interval and ctx.step % self.options.debug_interval == 0:
            classes = self.quota_by_class.shape[0]
            ratios = seed_ratios(pseudo.label, seeds, classes)
            for index, name in enumerate(self._class_names(ctx.host)):
                ctx.log(f"ssda.seed_ratio.{name}", ratios[index])

    def _show(
        self,
        ctx: StepContext,
        uncertainty: Tensor,
        pseudo: PseudoLabels,
        seeds: Tensor,
        crf: CrfInputs,
    ) -> None:
        most = max(math.log2(self.opinion_pass.count), 1.0)
        quota = self.quota_by_class.float()
        ratios = seed_ratios(pseudo.label, seeds, quota.shape[0])
        ctx.show(
            MapPanel("uncertainty (bits)", uncertainty, limits=(0.0, most)),
            LabelPanel("seeds", torch.where(seeds, pseudo.label, ctx.host.ignore_index)),
            BarsPanel("share of seeds", {"seeds": ratios, "quota": quota}, limits=(0.0, 1.0)),
            MapPanel("CRF energy", crf_energy(*crf.maps, **crf.options), limits=None),
        )

    def _class_names(self, host: Host) -> Sequence[str]:
        names = self._names if host.taxonomy is None else host.taxonomy.classes
        count = host.num_classes
        return names if len(names) == count else [str(index) for index in range(count)]
