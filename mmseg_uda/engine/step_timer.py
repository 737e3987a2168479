"""Times the phases of a training step from outside, without a line in the step itself."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class StepTimer:
    """Wraps a trainer's parts and adds up the time that each takes by itself.

    A part that calls another is not charged for it, so the phases sum up to the step. On a GPU
    each boundary waits for the device, which costs a little speed but names the right phase.

    Args:
        trainer: A trainer; its instance methods are replaced.
        optim_wrapper: Its optimizer wrapper.
        device: Where the trainer is.
    """

    def __init__(self, trainer: nn.Module, optim_wrapper: Any, device: torch.device) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device
        self._stack: list[str] = []
        self._last = 0.0
        self._pass = "source"
        teacher = getattr(trainer, "teacher", None)
        if teacher is not None:
            self._wrap(teacher, "update", lambda *_: "teacher update")
            self._wrap(teacher, "logits", lambda *_: "teacher forward")
            self._wrap(trainer, "label_target", lambda *_: "pseudo-labels")
            self._wrap(trainer, "compose", lambda *_: "mixing and augmentation")
        self._wrap(trainer, "forward_student", lambda *_: f"{self._pass} forward")
        self._wrap(trainer, "loss", lambda *_: f"{self._pass} loss")
        self._wrap(trainer, "backward", self._backward_name)
        self._wrap(optim_wrapper, "finish_step", lambda *_: "optimizer")
        self._wrap(trainer._finite, "observe", lambda *_: "finiteness check")
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

    def _charge(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._last
        self._last = now

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge the time inside to ``name``, less what inner phases take."""
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
