"""Stops a run with a loss, gradient or state that is no number, without waiting for the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.logging import MessageHub
from torch import Tensor

from mmseg_uda.engine.optim_wrapper import StepOptimWrapper
from mmseg_uda.engine.state_watch import NOT_SAVED, NonFiniteError, StateWatch
from mmseg_uda.models.weights.finite import listed

ADVICE = f"  The parameters are those before that step.\n{NOT_SAVED}"


@dataclass(frozen=True)
class _Batch:
    """One batch's losses: which there are, (n,) bool which of them are bad, and what it held."""

    step: int
    names: list[str]
    bad: Tensor
    data: Mapping[str, Any]


@dataclass(frozen=True)
class _Verdict:
    """On the host, once ``event`` is over: the losses of ``batches`` one after another, the
    tensors ``state``, the gradient norm, any process' losses and state."""

    batches: list[_Batch]
    state: list[str]
    bad: Tensor
    event: torch.cuda.Event | None


class FiniteCheck:
    """Watches losses, the gradient norm, and the state beside the parameters.

    The verdict is computed on the device and handed to the optimizer, which leaves the
    parameters alone from the first bad step on. The host reads each verdict as soon as its
    copy has arrived: at once on a CPU, a step or two later on a GPU. Several processes share the
    verdict, with the exchange of gradients, and read it a fixed number of steps later, so that
    they all stop at the same one.

    Args:
        keep: Steps whose batches are kept for the report while their verdict is on its way.
        shared_delay: Steps until several processes on GPUs read a verdict.

    Attributes:
        state: What is judged beside losses and gradients.
    """

    def __init__(self, keep: int = 8, shared_delay: int = 2) -> None:
        self.found: Tensor | None = None
        self.state: StateWatch | None = None
        self._batches: list[_Batch] = []
        self._pending: deque[_Verdict] = deque()
        self._keep = keep
        self._shared_delay = shared_delay

    def observe(
        self,
        step: int,
        scalars: Mapping[str, Tensor | float],
        optim_wrapper: StepOptimWrapper,
        data: Mapping[str, Any],
    ) -> None:
        """Judge this step's losses, gradients and state; raise if an earlier verdict was bad.

        Raises:
            NonFiniteError: Names the terms, the step and the sample paths, and says where the
                batch was written.
        """
        losses = {n: v for n, v in scalars.items() if "loss" in n and isinstance(v, Tensor)}
        if losses:
            bad = ~torch.isfinite(torch.stack([value.float() for value in losses.values()]))
        else:
            bad = torch.zeros(1, dtype=torch.bool, device=optim_wrapper.device)
        self._batches.append(_Batch(step, list(losses), bad, data))
        shared = optim_wrapper.exchange is not None
        if shared and not optim_wrapper.updates_next:
            return  # the processes meet at the update
        batches, self._batches = self._batches, []
        judged = [batch.bad for batch in batches]
        if self.state is not None:
            judged.append(self.state.judge(optim_wrapper.device))
        bad = torch.cat(judged)
        anywhere = optim_wrapper.exchange_gradients(bad.any().float().reshape(1)) > 0
        bad_norm = self._bad_norm(optim_wrapper)
        found = (anywhere | bad_norm).float().squeeze(0)
        self.found = found if self.found is None else torch.maximum(self.found, found)
        bad = torch.cat([bad, bad_norm, anywhere])
        names = [] if self.state is None else self.state.names
        self._pending.append(_Verdict(batches, names, *to_host(bad)))
        while self._pending and self._is_due(self._pending[0], shared):
            self._read(self._pending.popleft())

    def settle(self) -> None:
        """Wait for all verdicts, before a checkpoint is written.

        Raises:
            NonFiniteError: As :meth:`observe`.
        """
        while self._pending:
            self._read(self._pending.popleft())

    @staticmethod
    def _bad_norm(optim_wrapper: StepOptimWrapper) -> Tensor:
        """(1,) bool. With loss scaling always False: the scaler retries overflowing gradients."""
        norm = optim_wrapper.gradient_norm()
        if norm is None or optim_wrapper.scales_gradients:
            return torch.zeros(1, dtype=torch.bool, device=optim_wrapper.device)
        return ~torch.isfinite(norm).reshape(1)

    def _is_due(self, verdict: _Verdict, shared: bool) -> bool:
        if verdict.event is None:
            return True
        if shared:
            return len(self._pending) > self._shared_delay
        return verdict.event.query() or len(self._pending) >= self._keep

    def _read(self, verdict: _Verdict) -> None:
        if verdict.event is not None:
            verdict.event.synchronize()
        if not bool(verdict.bad.any()):
            return
        *bad, _, _ = verdict.bad.tolist()
        reports = []
        for batch in verdict.batches:
            here, bad = bad[: batch.bad.numel()], bad[batch.bad.numel() :]
            terms = [name for name, is_bad in zip(batch.names, here, strict=False) if is_bad]
            if terms:
                reports.append((batch, terms))
        tensors = [name for name, is_bad in zip(verdict.state, bad, strict=True) if is_bad]
        if self.state is not None:
            tensors = self.state.bad_parameters() + tensors
        if tensors:
            _, terms = reports.pop() if reports else (None, [])
            reports.append((verdict.batches[-1], [*terms, listed(tensors)]))
        # A bad loss in one process makes the gradient bad in all; only that one is to blame.
        if not any(all_gather_object(bool(reports))):
            reports = [(batch, ["gradient norm"]) for batch in verdict.batches]
        texts = all_gather_object("\n".join(_report(*report) for report in reports))
        raise NonFiniteError("\n".join([*filter(None, texts), ADVICE]))


def to_host(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """A copy on the host, and the event after which it holds the values; None if it does."""
    if not values.is_cuda:
        return values, None
    copy = values.to("cpu", non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return copy, event


def _pixel_maps(sample: Any) -> list[tuple[str, Tensor]]:
    return [(name, getattr(sample, name).data) for name in sample.keys()]  # noqa: SIM118


def _report(batch: _Batch, terms: list[str]) -> str:
    paths = [
        sample.metainfo.get("img_path", "?")
        for domain in batch.data.values()
        for sample in domain.get("data_samples", ())
    ]
    where, suffix = "", ""
    if get_world_size() > 1:
        where, suffix = f" in process {get_rank()}", f"_process_{get_rank()}"
    text = f"Not finite at step {batch.step}{where}: {', '.join(terms)}."
    text += f"\n  Samples: {', '.join(paths)}"
    work_dir = MessageHub.get_current_instance().runtime_info.get("work_dir")
    if work_dir is not None:
        dump = Path(work_dir) / f"non_finite_step_{batch.step}{suffix}.pth"
        torch.save(
            {
                domain: {
                    "inputs": part["inputs"],
                    "fields": [dict(_pixel_maps(s)) for s in part["data_samples"]],
                    "paths": [s.metainfo.get("img_path", "?") for s in part["data_samples"]],
                }
                for domain, part in batch.data.items()
            },
            dump,
        )
        text += f"\n  The batch was written to {dump}."
    return text
