"""Adversarial training on the output space (AdaptSegNet, Sec. 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_uda.engine.optim_wrapper import StepOptimWrapper
from mmseg_uda.engine.optim_wrapper_dict import DISCRIMINATOR, StepOptimWrapperDict
from mmseg_uda.engine.trainer import total_loss
from mmseg_uda.errors import UserError
from mmseg_uda.methods.advseg.discriminator import SOURCE, TARGET, Discriminator, domain_loss
from mmseg_uda.models.head_outputs import further_heads
from mmseg_uda.self_training.component import Losses
from mmseg_uda.self_training.output_adaptation import (
    AUXILIARY,
    OutputAdaptation,
    OutputAdaptationOptions,
    named,
)

MAIN = "main"


@dataclass(frozen=True)
class AdversarialOptions(OutputAdaptationOptions):
    """Options of :class:`AdversarialTraining`; defaults are those of the published runs."""

    gan: str = "LS"
    """``LS``: squared distance to 0 and 1; ``Vanilla``: binary cross-entropy."""

    def check(self) -> None:
        """Raises a ``UserError`` for values that cannot work."""
        super().check()
        self.require_choice("gan", ("LS", "Vanilla"))


@MODELS.register_module()
class AdversarialTraining(OutputAdaptation):
    """A discriminator tells the domains' predictions apart, and the student deceives it.

    The discriminators, one per prediction, have an optimizer of their own: a config takes
    ``optim_wrapper.constructor='AdversarialConstructor'``. In the released code the segmentor's
    optimizer decays their weights as well.
    """

    Options = AdversarialOptions

    def build_networks(self) -> None:
        """Makes one discriminator per prediction."""
        heads = [name for name in further_heads(self.model) if name.startswith(AUXILIARY)]
        self.discriminators = nn.ModuleDict(
            {name: Discriminator(self.num_classes) for name in (MAIN, *heads)}
        )

    def train_step(self, data: Mapping, optim_wrapper: StepOptimWrapper) -> dict:
        """One step of both optimizers; see :class:`Trainer`.

        Raises:
            UserError: If the discriminators have no optimizer.
        """
        if not isinstance(optim_wrapper, StepOptimWrapperDict):
            raise UserError(
                "Adversarial training needs an optimizer for its discriminators.",
                fix="Set optim_wrapper.constructor='AdversarialConstructor' and "
                "optim_wrapper.discriminator=dict(type='Adam', lr=1e-4, betas=(0.9, 0.99)).",
            )
        return super().train_step(data, optim_wrapper)

    def target_losses(self, probabilities: Mapping[str, Tensor]) -> Losses:
        """``target.loss_adv``, of an auxiliary head ``target.aux.loss_adv``."""
        self.discriminators.requires_grad_(False)
        return {
            named("target", name, "loss_adv"): self.loss_weight(name)
            * domain_loss(self._score(name, one), SOURCE, self.options.gan)
            for name, one in probabilities.items()
        }

    def after_student(
        self,
        on_source: Mapping[str, Tensor],
        on_target: Mapping[str, Tensor],
        optim_wrapper: StepOptimWrapper,
    ) -> None:
        """The discriminators learn to tell the domains apart: half of each domain's loss."""
        assert isinstance(optim_wrapper, StepOptimWrapperDict)
        self.discriminators.requires_grad_(True)
        for domain, label, maps in (("source", SOURCE, on_source), ("target", TARGET, on_target)):
            losses = {
                named("discriminator", name, f"loss_{domain}"): 0.5
                * domain_loss(self._score(name, one), label, self.options.gan)
                for name, one in maps.items()
            }
            for name, value in losses.items():
                self.log(name, value)
            optim_wrapper[DISCRIMINATOR].backward(total_loss(losses))

    def _score(self, name: str, probabilities: Tensor) -> Tensor:
        with torch.autocast(device_type=probabilities.device.type, enabled=False):
            return self.discriminators[name or MAIN](probabilities)
