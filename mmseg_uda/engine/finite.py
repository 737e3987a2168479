"""Stops a run whose loss or gradient is no longer a number, without waiting for the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MessageHub
from torch import Tensor

from mmseg_uda.engine.optim_wrapper import StepOptimWrapper


class NonFiniteError(RuntimeError):
    """A loss or the gradient is NaN or infinite."""


class FiniteCheck:
    """Watches losses and the gradient norm.

    The verdict is computed on the device and handed to the optimizer, which leaves the
    parameters alone from the first bad step on. The host reads each verdict as soon as its
    copy has arrived: at once on a CPU, a step or two later on a GPU.

    Args:
        keep: Steps whose batches are kept for the report while their verdict is on its way.
    """

    def __init__(self, keep: int = 8) -> None:
        self.found: Tensor | None = None
        self._pending: deque = deque()
        self._keep = keep

    def observe(
        self,
        step: int,
        scalars: Mapping[str, Tensor | float],
        optim_wrapper: StepOptimWrapper,
        data: Mapping[str, Any],
    ) -> None:
        """Judge this step's losses and gradients; raise if an earlier verdict was bad.

        Raises:
            NonFiniteError: Names the terms, the step and the sample paths, and says where the
                batch was written.
        """
        names = [n for n, v in scalars.items() if "loss" in n and isinstance(v, Tensor)]
        norm = optim_wrapper.gradient_norm()
        if norm is None:
            return
        values = torch.stack([scalars[n].float() for n in names] + [norm])  # type: ignore[union-attr]
        bad = ~torch.isfinite(values)
        if optim_wrapper.scales_gradients:
            # The loss scaler finds overflowing gradients itself and retries; a loss is final.
            bad[-1] = False
        any_bad = bad.any().float().reshape(1)
        self.found = any_bad if self.found is None else torch.maximum(self.found, any_bad)
        event = None
        if bad.is_cuda:
            bad = bad.to("cpu", non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self._pending.append((step, [*names, "gradient norm"], bad, event, data))
        while self._pending:
            step, names, verdict, event, batch = self._pending[0]
            if event is not None and not event.query() and len(self._pending) < self._keep:
                return
            if event is not None:
                event.synchronize()
            self._pending.popleft()
            if bool(verdict.any()):
                terms = [
                    name for name, is_bad in zip(names, verdict.tolist(), strict=True) if is_bad
                ]
                raise NonFiniteError(_report(step, terms, batch))


def _pixel_maps(sample: Any) -> list[tuple[str, Tensor]]:
    return [(name, getattr(sample, name).data) for name in sample.keys()]  # noqa: SIM118


def _report(step: int, terms: list[str], batch: Mapping[str, Any]) -> str:
    paths = [
        sample.metainfo.get("img_path", "?")
        for domain in batch.values()
        for sample in domain.get("data_samples", ())
    ]
    text = f"Not finite at step {step}: {', '.join(terms)}.\n  Samples: {', '.join(paths)}"
    work_dir = MessageHub.get_current_instance().runtime_info.get("work_dir")
    if work_dir is not None:
        dump = Path(work_dir) / f"non_finite_step_{step}.pth"
        torch.save(
            {
                domain: {
                    "inputs": part["inputs"],
                    "fields": [dict(_pixel_maps(s)) for s in part["data_samples"]],
                    "paths": [s.metainfo.get("img_path", "?") for s in part["data_samples"]],
                }
                for domain, part in batch.items()
            },
            dump,
        )
        text += f"\n  The batch was written to {dump}."
    return (
        text + "\n  The parameters are those before that step. A lower learning rate, gradient "
        "clipping (optim_wrapper.clip_grad) or --amp bf16 instead of fp16 may help."
    )
