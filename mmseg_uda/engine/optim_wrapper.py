"""An optimizer wrapper for steps made of several backward passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS
from torch import Tensor, nn

from mmseg_uda.errors import UserError, require_choice

AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Options of torch's optimizers that choose an implementation, not a result.
KERNEL_OPTIONS = ("fused", "foreach")


def check_amp(amp: str, device: torch.device) -> None:
    """Raises unless ``device`` can train in ``amp``.

    Raises:
        UserError: fp16 on a CPU, or bf16 on a GPU without bf16 arithmetic (before Ampere).
    """
    if amp == "fp16" and device.type == "cpu":
        raise UserError(
            "fp16 needs a GPU: the loss scaling and half of the kernels do not exist on a CPU.",
            fix="Use --amp bf16 on the CPU, or leave --amp out.",
        )
    if amp == "bf16" and device.type == "cuda" and torch.cuda.get_device_capability(device) < (8,):
        raise UserError(
            f"{torch.cuda.get_device_name(device)} has no bf16 arithmetic.",
            fix="Use --amp fp16.",
        )


@OPTIM_WRAPPERS.register_module()
class StepOptimWrapper(OptimWrapper):
    """Counts optimizer steps, not backward passes.

    mmengine's wrapper takes every ``backward`` for a step, so that a step with several
    backward passes breaks gradient accumulation; here a training step calls :meth:`backward`
    as often as it likes, :meth:`count_batch` once and, when that says so, :meth:`update`.

    Args:
        amp: ``bf16``, ``fp16`` or None (fp32). bf16 works on CPU and CUDA and needs no loss
            scaling; fp16 is for CUDA and is scaled dynamically. Parameters, gradients and
            optimizer state stay float32 in any case.
        kwargs: As for mmengine's ``OptimWrapper``.

    Attributes:
        clipped_norm: Gradient norm before the last clipping, 0-dim on the device; None without
            clipping.

    Raises:
        UserError: If ``amp`` is none of these, or the device cannot do it.
    """

    def __init__(self, *args: Any, amp: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        require_choice("optim_wrapper.amp", amp, (None, *AMP_DTYPES))
        if amp is not None:
            check_amp(amp, self.device)
        self.amp = amp
        self.clipped_norm: Tensor | None = None
        self._scaler = torch.amp.GradScaler("cuda") if amp == "fp16" else None

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.optimizer.param_groups[0]["params"][0].device

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast, and no gradient exchange while gradients accumulate."""
        if self.amp is None:
            with super().optim_context(model):
                yield
            return
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, AMP_DTYPES[self.amp]):
            yield

    def backward(self, loss: Tensor, **kwargs) -> None:
        """Adds the gradient of ``loss``, divided by the accumulation count, to the step's."""
        loss = self.scale_loss(loss)
        if self._scaler is not None:
            loss = self._scaler.scale(loss)
        loss.backward(**kwargs)

    def gradient_norm(self) -> Tensor | None:
        """L2 norm of all gradients as a 0-dim tensor.

        None if there is no gradient, or if a loss scaler scales it (fp16): that retries
        overflowing gradients by itself.
        """
        grads = [p.grad for p in self._with_gradient()]
        if not grads or self._scaler is not None:
            return None
        return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))

    def count_batch(self) -> bool:
        """Counts a batch whose gradients are there; whether the parameters' update is due.

        False while gradients accumulate.
        """
        self._inner_count += 1
        return self.should_update()

    def update(self, hold: Tensor | None = None) -> None:
        """Updates the parameters, unless nothing has a gradient, and drops the gradients.

        Args:
            hold: 0-dim float32, above 0 when the parameters must stay as they are; read on the
                device by fused optimizers, on the host by others.
        """
        if self._with_gradient():
            self.step(hold=hold)
        self.optimizer.zero_grad(set_to_none=True)

    def step(self, hold: Tensor | None = None, **kwargs: Any) -> None:
        """Clips and applies the gradients; the schedules count its calls.

        Args:
            hold: As for :meth:`update`.
            kwargs: For the optimizer.
        """
        if self._scaler is not None:
            if hold is not None:
                # The scaler skips the step for an infinite gradient; a bad loss shall count too.
                self._with_gradient()[0].grad.add_(torch.where(hold > 0, torch.inf, 0.0))
            self._scaler.unscale_(self.optimizer)
        if self.clip_grad_kwargs:
            self._clip_grad()
        if self._scaler is not None:
            self._scaler.step(self.optimizer, **kwargs)
            self._scaler.update()
            return
        if hold is not None:
            if self.optimizer.defaults.get("fused"):
                self.optimizer.grad_scale = None
                self.optimizer.found_inf = hold
            elif bool(hold):  # waits for a GPU, once per step, without fused kernels
                return
        self.optimizer.step(**kwargs)

    def _with_gradient(self) -> list[nn.Parameter]:
        groups = self.optimizer.param_groups
        return [p for group in groups for p in group["params"] if p.grad is not None]

    def _clip_grad(self) -> None:
        # mmengine's reads the norm on the host, which waits for the device in every step.
        norm = self.clip_func(self._with_gradient(), **self.clip_grad_kwargs)
        self.clipped_norm = None if norm is None else norm.detach()

    def state_dict(self) -> dict:
        """Optimizer state, with the loss scaler's under fp16."""
        state = super().state_dict()
        if self._scaler is not None:
            state["loss_scaler"] = self._scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        """Restores optimizer and loss scaler.

        Which kernels run stays as configured here, so that a run may move between devices.
        """
        scaler = state_dict.pop("loss_scaler", None)
        if scaler is not None and self._scaler is not None:
            self._scaler.load_state_dict(scaler)
        saved, own = state_dict["param_groups"], self.optimizer.param_groups
        groups = [
            {**old, **{key: new[key] for key in KERNEL_OPTIONS if key in new}}
            for old, new in zip(saved, own, strict=False)
        ]
        super().load_state_dict({**state_dict, "param_groups": groups + saved[len(groups) :]})
