"""Several optimizers in one training step: the segmentor's, and another network's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from torch import Tensor, nn

from mmseg_uda.engine.optim_constructor import ReferenceNameConstructor, kernels
from mmseg_uda.engine.optim_wrapper import StepOptimWrapper
from mmseg_uda.errors import UserError

SEGMENTOR, DISCRIMINATOR = "segmentor", "discriminator"


@OPTIM_WRAPPERS.register_module()
class StepOptimWrapperDict(OptimWrapperDict, StepOptimWrapper):
    """Step wrappers that count, hold and update together.

    It stands where one :class:`StepOptimWrapper` would: losses of :meth:`backward` are the first
    one's, those of another network go through that network's wrapper.

    Args:
        optim_wrapper_dict: Wrappers by name, the segmentor's first.
    """

    optim_wrappers: dict[str, StepOptimWrapper]

    @property
    def _first(self) -> StepOptimWrapper:
        return next(iter(self.optim_wrappers.values()))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self._first.device

    @property
    def clipped_norm(self) -> Tensor | None:  # type: ignore[override]
        """The segmentor's gradient norm before the last clipping."""
        return self._first.clipped_norm

    @property
    def param_groups(self) -> list[dict]:  # type: ignore[override]
        """The groups of all optimizers."""
        return [group for one in self.optim_wrappers.values() for group in one.param_groups]

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """As the segmentor's."""
        with self._first.optim_context(model):
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Adds the gradient of one of the segmentor's losses."""
        self._first.backward(loss, **kwargs)

    def gradient_norm(self) -> Tensor | None:
        """L2 norm of all gradients that are not scaled, 0-dim; None if there is none."""
        norms = [one.gradient_norm() for one in self.optim_wrappers.values()]
        found = [norm for norm in norms if norm is not None]
        return torch.linalg.vector_norm(torch.stack(found)) if found else None

    def count_batch(self) -> bool:
        """Counts a batch in all of them; whether their update is due."""
        due = [one.count_batch() for one in self.optim_wrappers.values()]
        return all(due)

    def should_update(self) -> bool:
        """Whether the batch that was counted last completes a step."""
        return self._first.should_update()

    def update(self, hold: Tensor | None = None) -> None:
        """Updates all parameters; see :class:`StepOptimWrapper`."""
        for one in self.optim_wrappers.values():
            one.update(hold)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class AdversarialConstructor(ReferenceNameConstructor):
    """A :class:`ReferenceNameConstructor` with a second optimizer, of a trainer's discriminators.

    Only that one updates them. ``param_scheduler`` is a dict with the keys ``segmentor`` and
    ``discriminator``.

    Args:
        optim_wrapper_cfg: As there, and ``discriminator``: the second optimizer.
        paramwise_cfg: Of the segmentor.

    Raises:
        UserError: For an unknown option, or if the trainer has no discriminators.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        own = {key: value for key, value in optim_wrapper_cfg.items() if key != DISCRIMINATOR}
        super().__init__(own, paramwise_cfg)
        if DISCRIMINATOR not in optim_wrapper_cfg:
            raise UserError(
                "AdversarialConstructor needs a second optimizer.",
                fix=f"Add optim_wrapper.{DISCRIMINATOR}=dict(type='Adam', lr=1e-4).",
            )
        self.discriminator_cfg = dict(optim_wrapper_cfg[DISCRIMINATOR])

    def __call__(self, model: nn.Module) -> StepOptimWrapperDict:
        """Builds both wrappers for a trainer."""
        trainer = model.module if is_model_wrapper(model) else model
        networks = getattr(trainer, "discriminators", None)
        if networks is None:
            raise UserError(
                f"{type(trainer).__name__} has no discriminators.",
                fix="Set optim_wrapper.constructor to 'ReferenceNameConstructor', or uda.type to "
                "'AdversarialTraining'.",
            )
        group = {"params": list(networks.parameters())}
        chosen = {**kernels([group], self.discriminator_cfg), **self.discriminator_cfg}
        optimizer = OPTIMIZERS.build({**chosen, "params": [group]})
        wrapper = {"type": "StepOptimWrapper", **self.wrapper_cfg, "optimizer": optimizer}
        both = {SEGMENTOR: super().__call__(model), DISCRIMINATOR: OPTIM_WRAPPERS.build(wrapper)}
        return StepOptimWrapperDict(**both)


def optimizers_of(optim_wrapper: Any) -> list[torch.optim.Optimizer]:
    """The optimizers of a runner's wrapper; none where nothing is built yet."""
    if isinstance(optim_wrapper, OptimWrapperDict):
        return [one.optimizer for one in optim_wrapper.values()]
    return [optim_wrapper.optimizer] if hasattr(optim_wrapper, "optimizer") else []
