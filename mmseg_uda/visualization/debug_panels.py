"""The hook that draws what a training step did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.visualization import LocalVisBackend
from mmseg.registry import HOOKS

from mmseg_uda.engine.trainer import Trainer
from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.files import replacing
from mmseg_uda.visualization.background import BackgroundWorker
from mmseg_uda.visualization.canvas import Classes
from mmseg_uda.visualization.panel_picture import panel_picture
from mmseg_uda.visualization.snapshot import Snapshot

FORMATS = ("png", "jpg")


@HOOKS.register_module()
class DebugPanelsHook(Hook):
    """Draws a step every ``interval`` iterations to ``<work_dir>/debug/iter_NNNNNN.png``.

    A picture shows the images of the batch with labels, pseudo-labels and weights, the mixed
    images, and whatever the components contribute (``StepContext.show``). In the step itself
    tensors are only copied, without waiting for the device; drawing and writing happen in a
    background thread. While it is off nothing is kept, copied or started. The training's numbers
    do not depend on it.

    Args:
        interval: Iterations between two pictures; 0 draws none.
        images: How many images of the batch to draw.
        columns: Tiles beside each other.
        tile: Width of a tile in pixels.
        format: ``png`` or ``jpg``.
        folder: Folder inside the work directory.
        waiting: Pictures that may wait to be drawn; when the queue is full one is left out.

    Raises:
        UserError: For an impossible option, or a model that is none of this project's trainers.
    """

    priority = "LOW"

    def __init__(
        self,
        interval: int = 0,
        images: int = 2,
        columns: int = 5,
        tile: int = 320,
        format: str = "png",
        folder: str = "debug",
        waiting: int = 2,
    ) -> None:
        for name, value, least in (
            ("interval", interval, 0),
            ("images", images, 1),
            ("columns", columns, 1),
            ("tile", tile, 100),
            ("waiting", waiting, 1),
        ):
            if not isinstance(value, int) or value < least:
                raise UserError(
                    f"default_hooks.debug_panels.{name}={value!r} is not possible.",
                    fix=f"Give a whole number of at least {least}.",
                )
        require_choice("default_hooks.debug_panels.format", format, FORMATS)
        self.interval = interval
        self.images = images
        self.columns = columns
        self.tile = tile
        self.format = format
        self.folder = folder
        self.worker = BackgroundWorker("Debug panels", waiting)

    def before_train(self, runner: Any) -> None:
        """Checks that the model can show anything."""
        if self.interval:
            _trainer(runner)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Asks the trainer to keep what it does in this step."""
        if self.interval and (batch_idx + 1) % self.interval == 0 and is_main_process():
            _trainer(runner).draws = True

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Copies the panels and has them drawn."""
        if not self.interval:
            return
        trainer = _trainer(runner)
        if not trainer.draws:
            return
        trainer.draws = False
        snapshot = Snapshot(trainer.panels, self.images, side=2 * self.tile)
        trainer.panels = []
        note = trainer.picture_note(batch_idx)
        self.worker.submit(lambda: self._draw(runner, trainer, snapshot, batch_idx + 1, note))

    def after_train(self, runner: Any) -> None:
        """Finishes the pictures that wait."""
        self.worker.close()

    def _draw(
        self, runner: Any, trainer: Trainer, snapshot: Snapshot, step: int, note: str
    ) -> None:
        metainfo = getattr(runner.train_dataloader.dataset, "metainfo", None)
        picture = panel_picture(
            snapshot.wait(),
            Classes.of(metainfo, trainer.num_classes),
            f"{Path(runner.work_dir).name}, iteration {step}{note and f'; {note}'}",
            self.images,
            self.columns,
            self.tile,
        )
        path = Path(runner.work_dir) / self.folder / f"iter_{step:06d}.{self.format}"
        with replacing(path) as temporary:
            # Level 3 takes a third of the default's time for files that are hardly larger.
            picture.save(temporary, compress_level=3, quality=90)
        for backend in runner.visualizer._vis_backends.values():
            if not isinstance(backend, LocalVisBackend):
                backend.add_image("debug_panels", np.asarray(picture), step)


def _trainer(runner: Any) -> Trainer:
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    if not isinstance(model, Trainer):
        raise UserError(
            f"Debug panels need one of this project's trainers, not {type(model).__name__}.",
            fix="Set default_hooks.debug_panels.interval=0, or give the config a 'uda'.",
        )
    return model
