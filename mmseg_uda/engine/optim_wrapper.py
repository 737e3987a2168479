"""An optimizer wrapper for steps made of several backward passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS
from torch import Tensor, nn

from mmseg_uda.errors import UserError

AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@OPTIM_WRAPPERS.register_module()
class StepOptimWrapper(OptimWrapper):
    """Counts optimizer steps, not backward passes.

    mmengine's wrapper takes every ``backward`` for a step, so that a step with several
    backward passes breaks gradient accumulation; here a training step calls :meth:`backward`
    as often as it likes and :meth:`finish_step` once.

    Args:
        amp: ``bf16``, ``fp16`` or None (fp32). bf16 works on CPU and CUDA and needs no loss
            scaling; fp16 is for CUDA and is scaled dynamically.
        kwargs: As for mmengine's ``OptimWrapper``.

    Raises:
        UserError: If ``amp`` is none of these.
    """

    def __init__(self, *args, amp: str | None = None, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if amp is not None and amp not in AMP_DTYPES:
            raise UserError(f"optim_wrapper.amp={amp!r} is unknown.", "Use 'bf16', 'fp16' or None.")
        self.amp = amp
        self._scaler = torch.amp.GradScaler("cuda") if amp == "fp16" else None
        self._backward_done = False

    @property
    def scales_gradients(self) -> bool:
        """Whether a loss scaler is at work (fp16)."""
        return self._scaler is not None

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
        """Add the gradient of ``loss``, divided by the accumulation count, to the step's."""
        loss = self.scale_loss(loss)
        if self._scaler is not None:
            loss = self._scaler.scale(loss)
        loss.backward(**kwargs)
        self._backward_done = True

    def gradient_norm(self) -> Tensor | None:
        """L2 norm of all gradients as a 0-dim tensor; None if there is none yet."""
        grads = [
            p.grad
            for group in self.optimizer.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        if not grads:
            return None
        return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))

    def finish_step(self, found_non_finite: Tensor | None = None) -> bool:
        """Count one training step; update the parameters when its turn has come.

        Args:
            found_non_finite: (1,) float32, above 0 when the parameters must stay as they are;
                read on the device by fused optimizers, on the host on a CPU.

        Returns:
            Whether this was an optimizer step (False while gradients accumulate).
        """
        self._inner_count += 1
        if not self.should_update():
            return False
        if self._backward_done:
            self._update(found_non_finite)
        self._backward_done = False
        self.optimizer.zero_grad(set_to_none=True)
        return True

    def _update(self, found: Tensor | None) -> None:
        if self._scaler is not None:
            self._scaler.unscale_(self.optimizer)
        if self.clip_grad_kwargs:
            self._clip_grad()
        if self._scaler is not None:
            self._scaler.step(self.optimizer)
            self._scaler.update()
            return
        if found is not None and found.is_cuda and self.optimizer.defaults.get("fused"):
            self.optimizer.grad_scale = None
            self.optimizer.found_inf = found
        self.optimizer.step()

    def state_dict(self) -> dict:
        """Optimizer state, with the loss scaler's under fp16."""
        state = super().state_dict()
        if self._scaler is not None:
            state["loss_scaler"] = self._scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        """Restore optimizer and loss scaler."""
        scaler = state_dict.pop("loss_scaler", None)
        if scaler is not None and self._scaler is not None:
            self._scaler.load_state_dict(scaler)
        super().load_state_dict(state_dict)
