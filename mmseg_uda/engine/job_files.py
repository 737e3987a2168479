"""What a training leaves behind for its runner: progress, evaluations and logged scalars."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.hooks.logger_hook import LoggerHook
from mmengine.hooks.runtime_info_hook import RuntimeInfoHook
from mmseg.registry import HOOKS
from torch import Tensor, stack

from mmseg_uda.files import write_json
from mmseg_uda.run_files import EVALUATIONS, PROGRESS, read_evaluations


@HOOKS.register_module()
class JobFilesHook(Hook):
    """Writes ``progress.json`` and ``evaluations.json`` into the work directory.

    ``progress.json``: ``iter``, ``max_iters``, ``seconds_per_iter``, ``eta_seconds`` and the
    time of writing. ``evaluations.json``: one entry per validation with ``iter``, the scalar
    metrics and ``IoU`` by class in per cent, null for a class that is nowhere.

    Args:
        interval: Iterations between two updates of the progress.
    """

    priority = "LOW"

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self._since = (0, 0.0)
        self._seconds = 0.0

    def before_train(self, runner: Any) -> None:
        """Drops evaluations of steps that a resumed run has yet to reach."""
        self._since = (runner.iter, time.time())
        if not is_main_process():
            return
        done = [e for e in read_evaluations(Path(runner.work_dir)) if e["iter"] <= runner.iter]
        write_json(Path(runner.work_dir) / EVALUATIONS, done)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Updates the progress file at the interval."""
        step = batch_idx + 1
        if is_main_process() and (step % self.interval == 0 or step == runner.max_iters):
            start, since = self._since
            self._seconds = (time.time() - since) / max(step - start, 1)
            self._since = (step, time.time())
            progress = {
                "iter": step,
                "max_iters": runner.max_iters,
                "seconds_per_iter": self._seconds,
                "eta_seconds": self._seconds * (runner.max_iters - step),
                "time": time.time(),
            }
            # A disk that is full for a while should not end a run that has nothing to save.
            with suppress(OSError):
                write_json(Path(runner.work_dir) / PROGRESS, progress)

    def after_val_epoch(self, runner: Any, metrics: Mapping[str, float] | None = None) -> None:
        """Appends the evaluation; the time it took does not count as training."""
        self._since = (runner.iter, time.time())
        if not is_main_process() or not metrics:
            return
        entry: dict[str, Any] = {"iter": runner.iter, "IoU": {}}
        for name, value in metrics.items():
            if name.startswith("IoU."):
                entry["IoU"][name.removeprefix("IoU.")] = _number(value)
            else:
                entry[name] = _number(value)
        path = Path(runner.work_dir)
        kept = [e for e in read_evaluations(path) if e["iter"] != entry["iter"]]
        write_json(path / EVALUATIONS, [*kept, entry])


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else float(value)


@HOOKS.register_module()
class DeferredScalarsHook(RuntimeInfoHook):
    """mmengine's ``RuntimeInfoHook``, reading scalars only when they are logged.

    The stock hook copies each loss to the host in every iteration, and so waits for the device
    once per scalar. Here the values are summed on the device and read together at the
    logger's interval; the logged value is their mean over the interval.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = {}
        self._counts: dict[str, int] = {}

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Adds up; hands the means over at the logger's interval."""
        for name, value in (outputs or {}).items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        interval = next((h.interval for h in runner.hooks if isinstance(h, LoggerHook)), 1)
        if (batch_idx + 1) % interval and batch_idx + 1 != runner.max_iters:
            return
        tensors = {n: v.float() for n, v in self._sums.items() if isinstance(v, Tensor)}
        read = stack(list(tensors.values())).tolist() if tensors else []
        values = {**self._sums, **dict(zip(tensors, read, strict=True))}
        for name, total in values.items():
            runner.message_hub.update_scalar(f"train/{name}", total / self._counts[name])
        self._sums, self._counts = {}, {}
