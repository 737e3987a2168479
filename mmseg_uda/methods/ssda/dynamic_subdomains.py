"""SSDA's component: seeds of each target image learn, the rest follows its similar seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mmseg_uda.engine.panels import BarsPanel, LabelPanel, MapPanel
from mmseg_uda.errors import UserError
from mmseg_uda.methods.ssda.crf import crf_energy, truncated_crf_loss
from mmseg_uda.methods.ssda.crf_inputs import CrfInputs
from mmseg_uda.methods.ssda.opinions import OpinionPass, resolve_source
from mmseg_uda.methods.ssda.options import (
    KEY,
    PSEUDO_FROM,
    CrfOptions,
    UncertaintyOptions,
    check,
    check_choice,
    read_group,
)
from mmseg_uda.methods.ssda.priors import PRIORS, QUOTAS, quotas, source_prior
from mmseg_uda.methods.ssda.seeds import (
    ABSENT,
    GTA_PRIOR,
    SCOPES,
    TIES,
    seed_mask,
    seed_ratios,
)
from mmseg_uda.methods.ssda.student_uncertainty import StudentUncertainty
from mmseg_uda.self_training.component import Component, StepContext
from mmseg_uda.self_training.records import MixedBatch, PseudoLabels, TargetBatch
from mmseg_uda.self_training.registry import COMPONENTS

if TYPE_CHECKING:
    from mmseg_uda.self_training.self_training import SelfTraining

WEIGHT_MAPS = ("unmixed", "mixed_alias")


@COMPONENTS.register_module()
class DynamicSubdomains(Component):
    """Dynamic subdomains (SSDA, IEEE TMM 2024, doi 10.1109/TMM.2024.3355629).

    In every step the pixels of the unmixed target images are split: the surest of each predicted
    class, more of a class that the source shows rarely, are seeds. Seeds learn the teacher's
    label; a truncated CRF pulls the other pixels to seeds of similar colour nearby. Defaults are
    those of the preset ``ssda``, which is the method; the released code runs something else
    (preset ``ssda_released``), see the card. Without a wait for the device; quotas are counted
    in each process by itself.

    Args:
        uncertainty: Which predictions are compared; see
            :class:`mmseg_uda.methods.ssda.options.UncertaintyOptions`.
        pseudo_from: Prediction behind the pseudo-labels of the whole step: ``deterministic``,
            ``first`` or ``mean`` of the compared ones.
        class_prior: Pixel frequency of each class in the source: numbers, ``gta_pycda`` (the
            published table for 19 classes, which the released code uses for every source) or
            ``source_stats`` (counted in the configured source).
        absent_class: Classes that the source lacks: ``none`` of their pixels are seeds, or
            ``all`` (the released formula).
        beta: β of the quota.
        quota: ``balanced``: by class, as published; ``constant``: the balanced quotas' mean
            under the prior for every class; or a number in (0, 1] for every class. Classes that
            have no seeds by ``absent_class`` have none either way.
        min_pixels: A class needs more pixels than this to have seeds.
        scope: Classes are counted over the ``batch`` (released code) or by ``image``.
        ties: Pixels as uncertain as the last seed: ``include`` (released code) or ``exclude``.
        quota_valid_only: Pixels without valid pseudo-label neither count nor become seeds.
        target_weight: τ, factor on all losses; 0.01 is the only value known from a run.
        seed_loss_weight: λ0, factor on the seed loss of the main prediction.
        branch_seed_loss: Whether HRDA's detail prediction and auxiliary heads learn the seeds;
            λ0 is not on them, as in the released code.
        uncertainty_loss_weight: λ1, factor on the mean uncertainty.
        uncertainty_grad: Use the student's own uncertainty in the loss, with its gradient
            (experimental). Otherwise it is the teacher's, a constant.
        crf_loss_weight: λ2, factor on the truncated CRF loss.
        crf: See :class:`mmseg_uda.methods.ssda.options.CrfOptions`.
        weight_map: Weight of a seed: ``unmixed``: the pseudo-label's; ``mixed_alias``: 1 under
            pixels that were pasted on the mixed image, a mistake of the released code.
        use_confidence_weight: Weigh by the pseudo-label's weight (confidence share, margins and
            other components' edits); else by the margins alone.
        debug_interval: Steps between logs of the seed ratio of each class; 0 for never.

    Raises:
        UserError: For options that cannot work, with the reason.
    """

    order = 30
    quota_by_class: Tensor

    def __init__(
        self,
        uncertainty: Mapping[str, Any] | None = None,
        pseudo_from: str = "deterministic",
        class_prior: str | Sequence[float] = "gta_pycda",
        absent_class: str = "none",
        beta: float = 0.1,
        quota: str | float = "balanced",
        min_pixels: int = 10,
        scope: str = "batch",
        ties: str = "include",
        quota_valid_only: bool = False,
        target_weight: float = 0.01,
        seed_loss_weight: float = 1.0,
        branch_seed_loss: bool = True,
        uncertainty_loss_weight: float = 0.0,
        uncertainty_grad: bool = False,
        crf_loss_weight: float = 0.1,
        crf: Mapping[str, Any] | None = None,
        weight_map: str = "unmixed",
        use_confidence_weight: bool = True,
        debug_interval: int = 1000,
    ) -> None:
        super().__init__()
        self.uncertainty_options = read_group(UncertaintyOptions, uncertainty, f"{KEY}.uncertainty")
        self.crf = read_group(CrfOptions, crf, f"{KEY}.crf")
        check_choice("pseudo_from", pseudo_from, PSEUDO_FROM)
        check_choice("absent_class", absent_class, ABSENT)
        check_choice("scope", scope, SCOPES)
        check_choice("ties", ties, TIES)
        check_choice("weight_map", weight_map, WEIGHT_MAPS)
        if isinstance(class_prior, str):
            check_choice("class_prior", class_prior, PRIORS)
        if isinstance(quota, str):
            check_choice("quota", quota, QUOTAS)
        else:
            check(f"{KEY}.quota", quota, 0 < quota <= 1, "in (0, 1]")
        check(f"{KEY}.beta", beta, beta > 0, "above 0")
        check(f"{KEY}.min_pixels", min_pixels, min_pixels >= 0, "at least 0")
        check(f"{KEY}.debug_interval", debug_interval, debug_interval >= 0, "at least 0")
        for name, value in (
            ("target_weight", target_weight),
            ("seed_loss_weight", seed_loss_weight),
            ("uncertainty_loss_weight", uncertainty_loss_weight),
            ("crf_loss_weight", crf_loss_weight),
        ):
            check(f"{KEY}.{name}", value, value >= 0, "at least 0")
        self.pseudo_from = pseudo_from
        self.class_prior = class_prior
        self.absent_class = absent_class
        self.beta = beta
        self.quota = quota
        self.min_pixels = min_pixels
        self.scope, self.ties = scope, ties
        self.quota_valid_only = quota_valid_only
        self.target_weight = target_weight
        self.seed_loss_weight = seed_loss_weight
        self.branch_seed_loss = branch_seed_loss
        self.uncertainty_loss_weight = uncertainty_loss_weight
        self.uncertainty_grad = uncertainty_grad
        self.crf_loss_weight = crf_loss_weight
        self.weight_map = weight_map
        self.use_confidence_weight = use_confidence_weight
        self.debug_interval = debug_interval
        self.register_buffer("quota_by_class", torch.zeros(0), persistent=False)
        self.opinion_pass: OpinionPass
        self._uncertainty: Tensor | None = None
        self._pasted: Tensor | None = None
        self._names: tuple[str, ...] = ()

    def bind(self, host: SelfTraining) -> None:
        """Choose the uncertainty for the network and compute the quotas."""
        if host.source_only:
            raise UserError(
                "uda.source_only=True leaves subdomains without target images.",
                f"Set {KEY}=None.",
            )
        source = resolve_source(self.uncertainty_options, host.model)
        self.opinion_pass = OpinionPass(self.uncertainty_options, source, self.pseudo_from)
        self._student_uncertainty: StudentUncertainty | None = None
        if self.uncertainty_grad:
            if not self.uncertainty_loss_weight:
                raise UserError(
                    f"{KEY}.uncertainty_grad=True has no effect on a loss of weight 0.",
                    f"Set {KEY}.uncertainty_loss_weight above 0, or uncertainty_grad=False.",
                )
            self._student_uncertainty = StudentUncertainty(
                self.uncertainty_options, source, host.model
            )
        self._check_losses(host)
        if self.class_prior == "gta_pycda":
            self._use_prior(host, GTA_PRIOR)
        elif not isinstance(self.class_prior, str):
            self._use_prior(host, self.class_prior)

    def _check_losses(self, host: SelfTraining) -> None:
        head = host.model.decode_head
        branches = getattr(head, "hr_loss_weight", 0) > 0 or host.model.with_auxiliary_head
        learns = (
            self.seed_loss_weight,
            self.branch_seed_loss and branches,
            self.crf_loss_weight,
            self.uncertainty_grad and self.uncertainty_loss_weight,
        )
        if not self.target_weight or not any(learns):
            raise UserError(
                f"No loss of {KEY} has a weight above 0 and a gradient.",
                f"Set {KEY}=None, or a weight above 0.",
            )

    def before_training(self, host: SelfTraining, data: Dataset) -> None:
        """Count the source's classes, where the prior comes from them."""
        if self.class_prior == "source_stats":
            self._use_prior(host, source_prior(data))
        if host.taxonomy is None:
            self._names = tuple(getattr(data, "metainfo", {}).get("classes", ()))

    def _use_prior(self, host: SelfTraining, prior: Sequence[float]) -> None:
        quota = quotas(prior, host.num_classes, self.quota, self.beta, self.absent_class)
        self.quota_by_class = quota.to(self.quota_by_class.device)

    def begin_step(self, ctx: StepContext) -> None:
        """Forget the step before."""
        self._uncertainty = self._pasted = None

    def teacher_logits(self, ctx: StepContext, target: TargetBatch) -> Tensor:
        """The teacher's pass, with its uncertainty."""
        teacher = ctx.host.teacher
        assert teacher is not None
        opinion = self.opinion_pass(teacher, target.image, ctx.random)
        self._uncertainty = opinion.uncertainty
        return opinion.logits

    def after_mixing(self, ctx: StepContext, mixed: MixedBatch) -> None:
        """Keep where source pixels were pasted, if the weights depend on it."""
        if self.weight_map == "mixed_alias":
            self._pasted = mixed.pasted

    def target_losses(
        self, ctx: StepContext, target: TargetBatch, pseudo: PseudoLabels
    ) -> dict[str, Tensor]:
        """Seed loss, uncertainty and CRF loss on the unmixed target images."""
        host = ctx.host
        uncertainty = self._take_uncertainty()
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
        weight = self._pixel_weight(pseudo, valid) * seeds
        for views, factor in (
            ((main,), self.seed_loss_weight),
            (tuple(branches), float(self.branch_seed_loss)),
        ):
            if views and factor > 0:
                part = replace(output, logits=views)
                for name, value in host.loss(part, pseudo.label, weight).items():
                    scaled = value * (self.target_weight * factor) if "loss" in name else value
                    losses[f"target.{name}"] = scaled
        share = self.target_weight * main.weight
        if self.uncertainty_loss_weight > 0:
            factor = share * self.uncertainty_loss_weight
            losses["target.loss_uncertainty"] = factor * disagreement
        if self.crf_loss_weight > 0:
            crf = CrfInputs.create(self.crf, main.logits, target, seeds, valid)
            energy = truncated_crf_loss(
                *crf.maps, **crf.options, detach_source=self.crf.detach_source
            )
            losses["target.loss_crf"] = share * self.crf_loss_weight * energy
            ctx.log("ssda.crf_cells", crf.active)
        self._log(ctx, uncertainty, pseudo, seeds)
        if ctx.draws:
            crf = CrfInputs.create(self.crf, main.logits.detach(), target, seeds, valid)
            self._show(ctx, uncertainty, pseudo, seeds, crf)
        return losses

    def _take_uncertainty(self) -> Tensor:
        uncertainty, self._uncertainty = self._uncertainty, None
        if uncertainty is None:
            raise UserError(
                f"{KEY} did not make the teacher's pass: another component did.",
                "Use one component that answers teacher_logits.",
            )
        return uncertainty

    def _seeds(self, uncertainty: Tensor, label: Tensor, valid: Tensor | None) -> Tensor:
        if not self.quota_by_class.numel():
            raise UserError(
                f"{KEY}.class_prior='source_stats' needs the training data set, which this "
                "training loop does not show (train_cfg.type='TrainLoop' does).",
                f"Give {KEY}.class_prior one number per class.",
            )
        return seed_mask(
            uncertainty,
            label,
            self.quota_by_class,
            min_pixels=self.min_pixels,
            scope=self.scope,
            ties=self.ties,
            valid=valid if self.quota_valid_only else None,
        )

    def _pixel_weight(self, pseudo: PseudoLabels, valid: Tensor | None) -> Tensor:
        weight = pseudo.weight
        if not self.use_confidence_weight:
            weight = torch.ones_like(weight) if valid is None else valid.to(weight)
        if self.weight_map == "unmixed":
            return weight
        assert self._pasted is not None
        pasted, self._pasted = self._pasted, None
        return torch.where(pasted, 1.0, weight)

    def _log(
        self, ctx: StepContext, uncertainty: Tensor, pseudo: PseudoLabels, seeds: Tensor
    ) -> None:
        ctx.log("ssda.uncertainty", uncertainty.mean())
        ctx.log("ssda.seed_ratio", seeds.float().mean())
        ctx.log("ssda.q", pseudo.share.mean())
        if self.debug_interval and ctx.step % self.debug_interval == 0:
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
        self.show(
            MapPanel("uncertainty (bits)", uncertainty, limits=(0.0, most)),
            LabelPanel("seeds", torch.where(seeds, pseudo.label, ctx.host.ignore_index)),
            BarsPanel("share of seeds", {"seeds": ratios, "quota": quota}, limits=(0.0, 1.0)),
            MapPanel("CRF energy", crf_energy(*crf.maps, **crf.options), limits=None),
        )

    def _class_names(self, host: SelfTraining) -> Sequence[str]:
        names = self._names if host.taxonomy is None else host.taxonomy.classes
        count = host.num_classes
        return names if len(names) == count else [str(index) for index in range(count)]
