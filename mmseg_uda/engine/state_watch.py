"""Judges what a checkpoint would hold: teachers' weights, buffers, the optimizer's state.

The losses and gradients of a step say nothing about them. A teacher that is no number any more
gives labels without weight, and running statistics only count in the evaluation: both are silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dist import all_gather_object
from torch import Tensor, nn

from mmseg_uda.errors import UserError
from mmseg_uda.models.weights.finite import is_bad, listed, non_finite

NOT_SAVED = (
    "  No checkpoint holds that. A lower learning rate, gradient clipping "
    "(optim_wrapper.clip_grad) or --amp bf16 instead of fp16 may help."
)


class NonFiniteError(UserError):
    """A loss, the gradient, a weight or a statistic is NaN or infinite.

    The message says all that there is to say, so tools end with it instead of a traceback.
    """


class StateWatch:
    """A trainer's floating-point state.

    Args:
        trainer: Module with all networks and components.
        updated: Parameters that the optimizer updates. Their gradients and losses are judged in
            every step, they themselves only for the report.
    """

    def __init__(self, trainer: nn.Module, updated: Iterable[nn.Parameter]) -> None:
        own = {id(parameter) for parameter in updated}
        slots = [
            _Slot(f"{prefix}.{name}".removeprefix("."), owner, name)
            for kind in ("_parameters", "_buffers")
            for prefix, module in trainer.named_modules()
            for owner in [getattr(module, kind)]
            for name, value in owner.items()
            if value is not None and value.is_floating_point()
        ]
        self._updated = [slot for slot in slots if id(slot.value) in own]
        others = [slot for slot in slots if id(slot.value) not in own]
        self._plain = [slot for slot in others if slot.is_plain]
        self._special = [slot for slot in others if not slot.is_plain]
        #: Of the tensors that are judged, in the order of the verdicts.
        self.names = [slot.name for slot in self._plain + self._special]

    @torch.no_grad()
    def judge(self, device: torch.device) -> Tensor:
        """(n,) bool on ``device``, n ``names``: which hold NaN or infinity. Never waits."""
        parts = [is_bad(slot.value).reshape(1) for slot in self._special]
        if self._plain:
            # One kernel for many tensors. A norm overflows from 1e19 on, where no statistic is.
            norms = torch._foreach_norm([slot.value for slot in self._plain])
            parts.insert(0, ~torch.isfinite(torch.stack(norms)))
        return torch.cat(
            [torch.zeros(0, dtype=torch.bool, device=device)]
            + [part.to(device, non_blocking=True) for part in parts]
        )

    def bad_parameters(self) -> list[str]:
        """Names of the parameters that the optimizer updates and that are bad; waits."""
        return non_finite({slot.name: slot.value for slot in self._updated})


@dataclass(frozen=True)
class _Slot:
    """Where a module keeps a tensor; buffers are replaced now and then."""

    name: str
    owner: Mapping[str, Any]
    key: str

    @property
    def value(self) -> Tensor:
        return self.owner[self.key]

    @property
    def is_plain(self) -> bool:
        """Whether it can be no attention mask, and its norm does not overflow."""
        ours = isinstance(self.value, nn.Parameter) or self.value.dim() < 2
        return ours and self.value.dtype is torch.float32


def require_finite_state(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], step: int
) -> None:
    """Judges everything that a checkpoint is about to hold; to be called in all processes.

    Waits for the device.

    Args:
        model: Without a wrapper.
        optimizers: Those whose state is to be judged, too.
        step: Completed steps, for the message.

    Raises:
        NonFiniteError: In all processes, if a tensor of any of them is NaN or infinite.
    """
    tensors = dict(model.state_dict())
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    states = (pair for optimizer in optimizers for pair in optimizer.state.items())
    for parameter, state in states:
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{names.get(id(parameter), '?')}.{key}"] = value
    bad = [name for found in all_gather_object(non_finite(tensors)) for name in found]
    if bad:
        bad = list(dict.fromkeys(bad))
        raise NonFiniteError(f"Not finite after step {step}: {listed(bad)}.\n{NOT_SAVED}")
