"""Mean IoU from one confusion matrix that is summed up where the predictions are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from PIL import Image
from rich.console import Console
from rich.table import Table

from mmseg_uda.errors import UserError
from mmseg_uda.taxonomy import Taxonomy, load_taxonomy


@METRICS.register_module()
class StreamingIoU(BaseMetric):
    """IoU and accuracy per class, and their means over all classes and over named subsets.

    IoU_c = TP / (TP + FP + FN) over all pixels with a label, of all images together; a class that
    is neither labelled nor predicted is left out of the means. In percent, rounded to two decimals.
    No prediction is kept: a (classes x classes) matrix is summed on the device and, in distributed
    runs, over the ranks.

    Returned scalars: ``aAcc``, ``mIoU``, ``mAcc``, ``mIoU_<subset>`` and ``IoU.<class>``.

    Args:
        taxonomy: Name or path of the taxonomy.
        subsets: name -> class ids or names; None uses the taxonomy's. A subset's mean counts a
            class that the network never learned as it is (0), unlike the common shortcut of
            scaling the mean over all classes.
        ignore_index: Label of pixels that do not count; None uses the taxonomy's.
        output_dir: Folder for predictions as 8-bit PNGs with palette, named by image file name.
        output_ids: Name of a data set whose raw ids are written instead of trainIds (the
            Cityscapes server wants ``'cityscapes'``).
        format_only: Only write predictions; nothing is evaluated and no labels are needed.
        log_table: Log the table of classes after an evaluation.

    Raises:
        UserError: format_only without output_dir; labels or predictions outside the taxonomy.
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
        log_table: bool = True,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.taxonomy = load_taxonomy(taxonomy)
        named = self.taxonomy.subsets if subsets is None else subsets
        self.subsets = {
            str(name): [self.taxonomy.class_id(member) for member in members]
            for name, members in named.items()
        }
        self.ignore_index = self.taxonomy.ignore_index if ignore_index is None else ignore_index
        if format_only and output_dir is None:
            raise UserError(
                "The metric is set to format_only but has no output_dir to write to.",
                fix="tools/test.py --out DIR, or test_evaluator.output_dir=DIR.",
            )
        self.output_dir = None if output_dir is None else Path(output_dir)
        self.format_only = format_only
        self.log_table = log_table
        self.written_ids = written_ids(self.taxonomy, output_ids)
        self.confusion: torch.Tensor | None = None
        self.images = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Adds a batch: ``pred_sem_seg`` and ``gt_sem_seg`` are (1, h, w), native resolution."""
        for sample in data_samples:
            prediction = sample["pred_sem_seg"]["data"].squeeze(0)
            self.images += 1
            if not self.format_only:
                self._add(prediction, sample)
            if self.output_dir is not None:
                self._write(prediction, sample["img_path"])

    def evaluate(self, size: int) -> dict[str, float]:
        """Returns the scores of all ranks together and starts anew.

        Args:
            size: Number of images of the data set.
        """
        confusion = self._matrix(torch.device("cpu"))
        seen = torch.tensor(self.images)
        all_reduce(confusion)
        all_reduce(seen)
        self.confusion, self.images = None, 0
        if self.format_only:
            print_log(f"Predictions are in {self.output_dir}", logger="current")
            return {}
        if int(seen) > size:
            print_log(
                f"{int(seen)} images were evaluated, the data set has {size}: some count twice. "
                "Use sampler=dict(type='DefaultSampler', shuffle=False, round_up=False).",
                logger="current",
            )
        metrics = self.compute_metrics([confusion.cpu().numpy()])
        return {f"{self.prefix}/{k}" if self.prefix else k: v for k, v in metrics.items()}

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Turns the confusion matrix (label x prediction, int64) into scores; logs the table."""
        classes = len(self.taxonomy)
        self.check(results[0])
        matrix = results[0][:classes, :classes]
        iou, accuracy = iou_scores(matrix)
        metrics = {
            "aAcc": _percent(np.trace(matrix) / matrix.sum()),
            "mIoU": _percent(_mean(iou)),
            "mAcc": _percent(_mean(accuracy)),
        }
        for name, members in self.subsets.items():
            metrics[f"mIoU_{name}"] = _percent(_mean(iou[members]))
        for name, value in zip(self.taxonomy.classes, iou, strict=True):
            metrics[f"IoU.{name}"] = _percent(value)
        if self.log_table and is_main_process():
            self._log_table(iou, accuracy, metrics)
        return metrics

    def check(self, matrix: np.ndarray) -> None:
        """Refuses a confusion matrix with ids outside the taxonomy, or without any pixel.

        Args:
            matrix: (K + 1, K + 1), see :meth:`compute_metrics`.
        """
        classes = len(self.taxonomy)
        if matrix[classes].any():
            raise UserError(
                f"The labels hold ids outside the taxonomy ({classes} classes).",
                fix="Set the data set's label_map, {id in the file: trainId}; for published data "
                "sets tools/convert_datasets writes trainIds.",
            )
        if matrix[:classes, classes].any():
            raise UserError(
                f"The network predicts classes outside the taxonomy ({classes} classes).",
                fix="Use as many classes in the head (num_classes) as in the taxonomy.",
            )
        if matrix.sum() == 0:
            raise UserError(
                "No pixel was evaluated: there is no label.",
                fix="Evaluate on a split with labels, or set format_only=True and output_dir.",
            )

    def _matrix(self, device: torch.device) -> torch.Tensor:
        """Returns the counts so far; the last row and column take ids outside the taxonomy."""
        if self.confusion is None:
            side = len(self.taxonomy) + 1
            self.confusion = torch.zeros((side, side), dtype=torch.int64, device=device)
        return self.confusion

    def _add(self, prediction: torch.Tensor, sample: dict) -> None:
        if "gt_sem_seg" not in sample:
            raise UserError(
                f"{sample['img_path']} has no label to evaluate against.",
                fix="Evaluate on a split with labels, or set format_only=True and output_dir.",
            )
        classes = len(self.taxonomy)
        matrix = self._matrix(prediction.device)
        label = sample["gt_sem_seg"]["data"].squeeze(0).to(prediction.device).long()
        ignored = label == self.ignore_index
        # One bin more than the matrix has takes ignored pixels: no boolean indexing, whose result
        # has a size that the host would have to wait for.
        index = label.clamp(max=classes) * (classes + 1) + prediction.long().clamp(max=classes)
        index = torch.where(ignored, matrix.numel(), index)
        counts = torch.bincount(index.flatten(), minlength=matrix.numel() + 1)
        matrix += counts[:-1].view_as(matrix)

    def _write(self, prediction: torch.Tensor, img_path: str) -> None:
        ids, palette = self.written_ids
        self.output_dir.mkdir(parents=True, exist_ok=True)  # type: ignore[union-attr]
        image = Image.fromarray(ids[prediction.cpu().numpy()])
        image.putpalette(palette)
        image.save(self.output_dir / f"{Path(img_path).stem}.png")  # type: ignore[operator]

    def _log_table(self, iou: np.ndarray, accuracy: np.ndarray, metrics: dict) -> None:
        table = Table("class", title="IoU and accuracy per class in %")
        table.add_column("IoU", justify="right")
        table.add_column("Acc", justify="right")
        for name, *values in zip(self.taxonomy.classes, iou, accuracy, strict=True):
            table.add_row(name, *(f"{_percent(value):.2f}" for value in values))
        table.add_section()
        table.add_row("mean", f"{metrics['mIoU']:.2f}", f"{metrics['mAcc']:.2f}")
        for name, members in self.subsets.items():
            table.add_row(f"mean {name} ({len(members)})", f"{metrics[f'mIoU_{name}']:.2f}", "")
        console = Console(width=60, no_color=True, markup=False, emoji=False)
        with console.capture() as capture:
            console.print(table)
        print_log("\n" + capture.get(), MMLogger.get_current_instance())


def iou_scores(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns IoU and accuracy of each class, in 0..1; NaN where a class does not occur.

    Args:
        confusion: int64, (C, C), pixels by label and prediction.
    """
    hits = np.diag(confusion).astype(np.float64)
    labelled, predicted = confusion.sum(1), confusion.sum(0)
    with np.errstate(invalid="ignore"):
        return hits / (labelled + predicted - hits), hits / labelled


def written_ids(taxonomy: Taxonomy, output_ids: str | None) -> tuple[np.ndarray, list[int]]:
    """Returns trainId -> written value, and the palette of the written values."""
    ids = np.arange(256, dtype=np.uint8)
    if output_ids is not None:
        if output_ids not in taxonomy.raw_ids:
            raise UserError(
                f"output_ids='{output_ids}': the taxonomy has no raw ids of this data set.",
                fix=f"Use one of {', '.join(taxonomy.raw_ids)}.",
            )
        for raw_id, train_id in taxonomy.raw_ids[output_ids].items():
            ids[train_id] = raw_id
    palette = np.zeros((256, 3), np.uint8)
    palette[ids[: len(taxonomy)]] = taxonomy.palette
    return ids, palette.ravel().tolist()


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _percent(share: float) -> float:
    return round(float(share) * 100, 2)
