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

from mmseg_uda.engine.state_watch import NOT_SAVED, NonFiniteError, StateWatch
from mmseg_uda.models.weights.finite import listed

ADVICE = f"  The parameters are those before that step.\n{NOT_SAVED}"


@dataclass(frozen=True)
class _Batch:
    """A batch of a step, with its losses by name."""

    step: int
    losses: Mapping[str, Tensor]
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
    parameters alone from the first bad step on. Batches whose gradients accumulate are judged
    together. The host reads each verdict as soon as its
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
        self._bad = torch.zeros(0, dtype=torch.bool)
        self._pending: deque[_Verdict] = deque()
        self._keep = keep
        self._shared_delay = shared_delay

    def note(
        self, step: int, scalars: Mapping[str, Tensor | float], data: Mapping[str, Any]
    ) -> None:
        """Takes down a batch and its losses: those of ``scalars`` named so."""
        losses = {n: v for n, v in scalars.items() if "loss" in n and isinstance(v, Tensor)}
        self._batches.append(_Batch(step, losses, data))

    def judge(self, device: torch.device) -> Tensor:
        """Judges the noted batches' losses and the state; (1,) float32, above 0 for a bad one."""
        losses = [loss.float() for batch in self._batches for loss in batch.losses.values()]
        judged = [~torch.isfinite(torch.stack(losses))] if losses else []
        if self.state is not None:
            judged.append(self.state.judge(device))
        none = torch.zeros(0, dtype=torch.bool, device=device)
        self._bad = torch.cat([none, *judged])
        return self._bad.any().float().reshape(1)

    def decide(self, anywhere: Tensor, norm: Tensor | None) -> Tensor:
        """Decides whether the parameters stay as they are; raises if an earlier verdict was bad.

        Args:
            anywhere: (1,), above 0 if :meth:`judge` found something in any process.
            norm: That of the gradients, 0-dim; None counts as good.

        Returns:
            0-dim float32, above 0 from the first bad step on.

        Raises:
            NonFiniteError: Names the terms, the step and the sample paths, and says where the
                batch was written.
        """
        bad_norm = ~torch.isfinite(anywhere if norm is None else norm.reshape(1))
        found = ((anywhere > 0) | bad_norm).float().squeeze(0)
        self.found = found if self.found is None else torch.maximum(self.found, found)
        names = [] if self.state is None else self.state.names
        bad = torch.cat([self._bad, bad_norm, anywhere > 0])
        self._pending.append(_Verdict(self._batches, names, *to_host(bad)))
        self._batches = []
        while self._pending and self._is_due(self._pending[0]):
            self._read(self._pending.popleft())
        return self.found

    def settle(self) -> None:
        """Waits for all verdicts, before a checkpoint is written.

        Raises:
            NonFiniteError: As :meth:`decide`.
        """
        while self._pending:
            self._read(self._pending.popleft())

    def _is_due(self, verdict: _Verdict) -> bool:
        if verdict.event is None:
            return True
        if get_world_size() > 1:
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
            here, bad = bad[: len(batch.losses)], bad[len(batch.losses) :]
            terms = [name for name, is_bad in zip(batch.losses, here, strict=True) if is_bad]
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
