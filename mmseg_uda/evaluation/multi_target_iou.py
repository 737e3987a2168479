"""Scores of several targets in one run, and their unweighted mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from rich.console import Console
from rich.table import Table

from mmseg_uda.errors import UserError

from .streaming_iou import StreamingIoU

WIDTH = 110


@METRICS.register_module()
class MultiTargetIoU(BaseMetric):
    """``StreamingIoU`` for every target of a ``MultiTargetDataset``, and the mean over targets.

    Returned scalars: every scalar of ``StreamingIoU`` as ``<target>/<name>``, and under its own
    name the plain mean over the targets that have it: ``mIoU`` counts a target with 500 images as
    much as one with 2000 (SRHA). Predictions are written into a folder per target.

    Args: those of ``StreamingIoU``.

    Raises:
        UserError: As ``StreamingIoU``, or the data set is no ``MultiTargetDataset``.
    """

    default_prefix = ""  # names as they are; without one mmengine warns

    def __init__(
        self,
        taxonomy: str = "cityscapes19",
        subsets: Mapping[str, Sequence[int | str]] | None = None,
        ignore_index: int | None = None,
        output_dir: str | None = None,
        output_ids: str | None = None,
        format_only: bool = False,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.options: dict[str, Any] = {
            "taxonomy": taxonomy,
            "subsets": subsets,
            "ignore_index": ignore_index,
            "output_ids": output_ids,
            "format_only": format_only,
        }
        self.output_dir = None if output_dir is None else Path(output_dir)
        self._build("")  # tells of wrong options now
        self.metrics: dict[str, StreamingIoU] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Adds each sample to the counts of its target."""
        for sample in data_samples:
            self._metric(sample.get("target")).process(data_batch, [sample])

    def evaluate(self, size: int) -> dict[str, float]:
        """Returns the scores of all ranks together, target by target, and starts anew.

        Args:
            size: Number of images of all targets; unused, each target's number is known.
        """
        # Every rank goes through all targets, also through those of which it has seen nothing.
        scores = {name: self._metric(name).evaluate(count) for name, count in self._sizes().items()}
        metrics = self.compute_metrics([scores])
        return {f"{self.prefix}/{k}" if self.prefix else k: v for k, v in metrics.items()}

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Joins the targets' scores and adds their plain means; logs the table.

        Args:
            results: One item, the scores by target and name.
        """
        (scores,) = results
        metrics = {
            f"{target}/{name}": value
            for target, values in scores.items()
            for name, value in values.items()
        }
        names = dict.fromkeys(name for values in scores.values() for name in values)
        metrics |= {name: _mean([v[name] for v in scores.values() if name in v]) for name in names}
        if metrics and is_main_process():
            self._log_table(scores, metrics)
        return metrics

    def _sizes(self) -> dict[str, int]:
        sizes = (self.dataset_meta or {}).get("targets")
        if not sizes:
            raise UserError(
                "MultiTargetIoU evaluates a MultiTargetDataset, and this is none.",
                fix="Use val_evaluator=dict(type='StreamingIoU') for a single target.",
            )
        return sizes

    def _metric(self, target: str | None) -> StreamingIoU:
        if target not in self._sizes():
            raise UserError(f"A sample belongs to the target {target!r}, which is unknown.")
        if target not in self.metrics:
            self.metrics[str(target)] = self._build(str(target))
        return self.metrics[str(target)]

    def _build(self, target: str) -> StreamingIoU:
        folder = None if self.output_dir is None else str(self.output_dir / target)
        return StreamingIoU(**self.options, output_dir=folder, log_table=False)

    def _log_table(
        self, scores: Mapping[str, Mapping[str, float]], metrics: Mapping[str, float]
    ) -> None:
        table = Table("in %", title="IoU per class and means, by target")
        for target in (*scores, "mean"):
            table.add_column(target, justify="right")
        classes = [name for name in metrics if name.startswith("IoU.")]
        means = [name for name in metrics if "/" not in name and name not in classes]
        for names in (classes, means):
            for name in names:
                values = [metrics.get(f"{target}/{name}", np.nan) for target in scores]
                cells = [f"{value:.2f}" for value in (*values, metrics[name])]
                table.add_row(name.removeprefix("IoU."), *cells)
            table.add_section()
        console = Console(width=WIDTH, no_color=True, markup=False, emoji=False)
        with console.capture() as capture:
            console.print(table)
        print_log("\n" + capture.get(), MMLogger.get_current_instance())


def _mean(values: Sequence[float]) -> float:
    """Plain mean; a class that is nowhere in a target is left out."""
    known = [value for value in values if not np.isnan(value)]
    return round(float(np.mean(known)), 2) if known else float("nan")
