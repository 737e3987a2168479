"""Writes coloured predictions as palette PNGs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmseg.registry import HOOKS
from PIL import Image


def save_colored(label: np.ndarray, palette: Sequence[Sequence[int]], path: Path) -> None:
    """Writes an id map as a palette PNG: looks coloured, holds the ids.

    Args:
        label: (H, W) integers below 256.
        palette: RGB per id, 0–255.
        path: File to write; its folder is made.
    """
    image = Image.fromarray(label.astype(np.uint8), mode="P")
    image.putpalette([value for color in palette for value in color])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@HOOKS.register_module()
class PredictionPicturesHook(Hook):
    """Writes every n-th prediction of validation and test to ``<work_dir>/preds``.

    Args:
        interval: Write every n-th image; 0 writes none.
        mode_prefix: Put ``val_`` or ``test_`` before the file name.
        folder: Folder inside the work directory.
    """

    def __init__(self, interval: int = 0, mode_prefix: bool = True, folder: str = "preds") -> None:
        self.interval = interval
        self.mode_prefix = mode_prefix
        self.folder = folder
        self._seen = 0

    def before_val_epoch(self, runner: Any) -> None:
        """Starts counting anew."""
        self._seen = 0

    def before_test_epoch(self, runner: Any) -> None:
        """Starts counting anew."""
        self._seen = 0

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Writes the batch's share of pictures."""
        self._write(runner, outputs, "val_")

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Writes the batch's share of pictures."""
        self._write(runner, outputs, "test_")

    def _write(self, runner: Any, outputs: Sequence[Any] | None, prefix: str) -> None:
        if self.interval < 1:
            return
        palette = runner.visualizer.dataset_meta["palette"]
        for sample in outputs or ():
            self._seen += 1
            if self._seen % self.interval:
                continue
            name = Path(sample.img_path).stem + ".png"
            label = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
            path = Path(runner.work_dir) / self.folder / (prefix * self.mode_prefix + name)
            save_colored(label, palette, path)
