"""The learning-rate curve of VFM-UDA (https://arxiv.org/abs/2406.09896)."""

from __future__ import annotations

from typing import Any

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmseg.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmupLinear(LRSchedulerMixin, _ParamScheduler):
    """A linear warm-up to the full rate, then a line to 0 that began at step 0.

    The factor of step k is ``start + (1 - start) · k / (warmup - 1)`` before ``warmup``, and
    ``1 - k / total`` from there on: it jumps from 1 to 0.9625 at step 1500, as published.

    Args:
        optimizer: The optimizer, or its wrapper.
        warmup: Steps of the warm-up.
        start: Factor of step 0.
        total: Step at which the rate is 0.
        continuous: Multiply both curves in the warm-up instead, so that nothing jumps.
        **options: mmengine's; ``by_epoch`` is False.
    """

    def __init__(
        self,
        optimizer: Any,
        warmup: int = 1500,
        start: float = 1e-3,
        total: int = 40000,
        continuous: bool = False,
        **options: Any,
    ) -> None:
        self.warmup, self.start, self.total = warmup, start, total
        self.continuous = continuous
        super().__init__(optimizer, **{"by_epoch": False, **options})

    def factor(self, step: int) -> float:
        """Factor on the base rate of a step."""
        line = max(1 - step / self.total, 0.0)
        if step >= self.warmup:
            return line
        rise = self.start + (1 - self.start) * step / max(self.warmup - 1, 1)
        return rise * line if self.continuous else rise

    def _get_value(self) -> list[float]:
        factor = self.factor(self.last_step)
        return [base * factor for base in self.base_values]
