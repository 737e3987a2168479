"""A training's steps and validations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner.loops import IterBasedTrainLoop
from mmseg.registry import LOOPS

from mmseg_uda.engine.processes import from_main_process
from mmseg_uda.engine.trainer import Trainer
from mmseg_uda.run_files import read_evaluations


@LOOPS.register_module()
class TrainLoop(IterBasedTrainLoop):
    """mmengine's iteration loop that also makes up for a validation cut off by a kill.

    The checkpoint of a step is written before its validation. A run that was killed in
    between resumes after the step; without this, that evaluation would be missing.
    """

    def run(self) -> Any:
        """Trains, with the pending validation first."""
        due = (
            self._iter > 0
            and self._iter >= self.val_begin
            and (self._iter % self.val_interval == 0 or self._iter == self._max_iters)
        )
        folder = Path(self.runner.work_dir)
        evaluated = from_main_process(lambda: [e["iter"] for e in read_evaluations(folder)])
        if due and self.runner.val_loop is not None and self._iter not in evaluated:
            self.runner.logger.info(f"Validating step {self._iter}, left undone before.")
            self.runner.message_hub.update_info("loop_stage", "train")
            self.runner.val_loop.run()
        model = self.runner.model
        trainer = model.module if is_model_wrapper(model) else model
        if isinstance(trainer, Trainer):
            trainer.before_training(self.dataloader.dataset)
        return super().run()
