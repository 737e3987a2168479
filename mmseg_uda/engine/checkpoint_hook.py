"""When checkpoints are written, and which of them are kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.model import is_model_wrapper
from mmseg.registry import HOOKS

from mmseg_uda.engine.checkpoint import checkpoint_bytes, in_common, newest_first, step_of
from mmseg_uda.errors import UserError, no_space
from mmseg_uda.files import write_text

NAMES = "iter_{}.pth"


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's hook, deleting an old checkpoint only when the new one is on the disk.

    The stock hook deletes first: a kill or a full disk during the write then leaves one
    checkpoint less, with ``max_keep_ckpts=1`` none. What is kept is judged by the files
    themselves, so a run that was killed in between leaves nothing behind for good.

    Args:
        max_keep_ckpts: Newest checkpoints to keep besides the best one; -1 keeps all. While a
            checkpoint is written there is one more.
        save_best: Metric whose best checkpoint is kept, too (weights alone, no optimizer).
        kwargs: Those of mmengine's ``CheckpointHook``; ``by_epoch`` is False.

    Raises:
        UserError: If ``save_best`` lists several metrics, or for ``filename_tmpl``.
    """

    best_ckpt_path: str | None

    def __init__(
        self,
        *args: Any,
        max_keep_ckpts: int = 2,
        save_best: str | None = None,
        **kwargs: Any,
    ) -> None:
        if save_best is not None and not isinstance(save_best, str):
            raise UserError(
                f"default_hooks.checkpoint.save_best={save_best!r} is no name of a metric.",
                fix="Give one, such as 'mIoU'.",
            )
        if kwargs.get("filename_tmpl", NAMES) != NAMES:
            raise UserError(
                f"default_hooks.checkpoint.filename_tmpl={kwargs['filename_tmpl']!r}: no resume "
                "finds checkpoints of another name than iter_N.pth.",
                fix="Leave it out.",
            )
        kwargs["by_epoch"] = False
        # The stock class gets no max_keep_ckpts, so it deletes nothing.
        super().__init__(*args, save_best=save_best, **kwargs)
        self.keep = max_keep_ckpts
        self._ready = False

    def before_train(self, runner: Any) -> None:
        """Prepares, once: a validation made up for on resume comes before the training.

        Raises:
            UserError: The disk is too small for a single checkpoint.
        """
        if self._ready:
            return
        super().before_train(runner)
        self._ready = True
        best = getattr(self, "best_ckpt_path", None)
        if best is not None:  # noted at the place where the run was then
            self.best_ckpt_path = str(Path(self.out_dir) / Path(best).name)
            runner.message_hub.update_info("best_ckpt", self.best_ckpt_path)
        if hasattr(runner.optim_wrapper, "state_dict"):  # not in a validation alone
            self._check_place(runner)

    def _check_place(self, runner: Any) -> None:
        folder, needed = Path(self.out_dir), checkpoint_bytes(runner.model, runner.optim_wrapper)
        if is_main_process() and shutil.disk_usage(folder).free < needed:
            raise no_space(folder / NAMES.format("N"), needed)

    def after_val_epoch(self, runner: Any, metrics: dict) -> None:
        """Saves the best checkpoint, if this is it."""
        self.before_train(runner)
        super().after_val_epoch(runner, metrics)

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict) -> None:
        name = self.filename_tmpl.format(step)
        self.last_ckpt = str(Path(self.out_dir) / name)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=False,
            backend_args=self.backend_args,
            **self.args,
        )
        if not is_main_process():
            return
        write_text(Path(runner.work_dir) / "last_checkpoint", self.last_ckpt)
        if self.keep > 0:
            # A file of a later step is one that could not be read on resume; it does not count.
            done = [path for path in newest_first(Path(self.out_dir)) if step_of(path) <= step]
            for path in done[self.keep :]:
                path.unlink(missing_ok=True)

    def _save_best_checkpoint(self, runner: Any, metrics: dict) -> None:
        if self.save_best is None:
            return
        # Hidden from the stock class, which would delete it first.
        before, self.best_ckpt_path = self.best_ckpt_path, None
        super()._save_best_checkpoint(runner, metrics)
        if self.best_ckpt_path is None:
            self.best_ckpt_path = before
        elif is_main_process():
            for path in Path(self.out_dir).glob(f"best_{self.key_indicators[0]}_iter_*.pth"):
                if path.name != Path(self.best_ckpt_path).name:
                    path.unlink()

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Stores tensors that student and teacher have in common once, also those of a GPU."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        state = checkpoint["state_dict"]
        for one, other in in_common(model.state_dict()):
            state[other] = state[one]

    def save_now(self, runner: Any, step: int) -> None:
        """Saves the state after ``step`` steps, unless that was done."""
        path = Path(self.out_dir) / self.filename_tmpl.format(step)
        if self.last_ckpt != str(path):
            self._save_checkpoint_with_step(runner, step, dict(epoch=runner.epoch, iter=step))
