"""Times the phases of a training step from outside, without a line in the step itself."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


class StepTimer:
    """Wraps a trainer's parts and adds up the time that each takes by itself.

    A part that calls another is not charged for it, so the phases sum up to the steps. On a GPU
    the boundaries are events on the device: nothing waits for them before the result is read.

    Args:
        trainer: A trainer; its instance methods are replaced.
        optim_wrapper: Its optimizer wrapper.
        device: Where the trainer is.
    """

    def __init__(self, trainer: Any, optim_wrapper: Any, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._spans: list[tuple[str, Any, Any]] = []
        self._stack: list[str] = []
        self._last: Any = None
        self._pass = "source"
        for method, phase in trainer.phases.items():
            self._wrap(trainer, method, lambda *_, phase=phase: phase)
        teacher = getattr(trainer, "teacher", None)
        if teacher is not None and hasattr(trainer, "label_target"):
            self._wrap(teacher, "update", lambda *_: "teacher update")
            self._wrap(teacher, "logits", lambda *_: "teacher forward")
            self._wrap(trainer, "label_target", lambda *_: "pseudo-labels")
            self._wrap(trainer, "compose", lambda *_: "mixing and augmentation")
        self._wrap(trainer, "forward_student", lambda *_: f"{self._pass} forward")
        self._wrap(trainer, "loss", lambda *_: f"{self._pass} loss")
        self._wrap(trainer, "backward", self._backward_name)
        self._wrap(trainer._finite, "judge", lambda *_: "finiteness check")
        self._wrap(trainer._finite, "decide", lambda *_: "finiteness check")
        self._wrap(trainer, "exchange", lambda *_: "exchange between processes")
        self._wrap(optim_wrapper, "update", lambda *_: "optimizer")
        for role, component in getattr(trainer, "components", {}).items():
            self._wrap(component, "source_losses", lambda *_, role=role: role)
            self._wrap(component, "refine_labels", lambda *_, role=role: role)
            self._wrap(component, "late_losses", lambda *_, role=role: self._enter(role))

    def _enter(self, role: str) -> str:
        self._pass = role
        return role

    def _backward_name(self, *_: Any) -> str:
        name = f"{self._pass} backward"
        self._pass = "mix"  # what comes after the source, until a component takes over
        return name

    def _wrap(self, owner: Any, method: str, name: Callable[..., str]) -> None:
        original = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.phase(name(*args)):
                return original(*args, **kwargs)

        setattr(owner, method, timed)

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _charge(self) -> None:
        now = self._now()
        if self._stack:
            self._spans.append((self._stack[-1], self._last, now))
        self._last = now

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by phase, in order of first appearance; waits for the device."""
        if self._cuda:
            torch.cuda.synchronize()
        totals: dict[str, float] = defaultdict(float)
        for name, start, end in self._spans:
            totals[name] += start.elapsed_time(end) / 1000 if self._cuda else end - start
        return dict(totals)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charges the time inside to ``name``, less what inner phases take."""
        self._charge()
        self._stack.append(name)
        try:
            yield
        finally:
            self._charge()
            self._stack.pop()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around one training step."""
        self._pass = "source"
        with self.phase("rest"):
            yield
