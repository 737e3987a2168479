"""Config to runner: wraps the model, saves atomically, resumes from the newest good file."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import mmengine.runner
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_distributed, is_main_process
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper, revert_sync_batchnorm
from mmseg.registry import MODELS, RUNNERS
from torch import nn
from torch.utils.data import DataLoader

from mmseg_uda.archives import seal
from mmseg_uda.engine.checkpoint import (
    FORMAT_VERSION,
    checkpoint_bytes,
    load_trainer_state,
    sync_folder,
)
from mmseg_uda.engine.distributed import choose_sync_bn, wrapper_config
from mmseg_uda.engine.execution import spread_execution
from mmseg_uda.engine.flat_keys import reject_flat_keys
from mmseg_uda.engine.interruption import InterruptionHook, StopRequest, quiet_worker
from mmseg_uda.engine.optim_wrapper_dict import optimizers_of
from mmseg_uda.engine.options import check_options
from mmseg_uda.engine.processes import join_processes
from mmseg_uda.engine.resume import notes, restore
from mmseg_uda.engine.schedules import in_steps
from mmseg_uda.engine.start import PARTIAL, Start, begin_training
from mmseg_uda.engine.state_watch import require_finite_state
from mmseg_uda.engine.trainer import Trainer
from mmseg_uda.errors import DISK_FULL, MachineError, UserError, no_space
from mmseg_uda.loader import PATIENCE_SECONDS, StopWaiting, kill_workers, read_patience, watch
from mmseg_uda.models.weights import read_checkpoint

# Options of a loader that are about its workers.
OF_WORKERS = ("persistent_workers", "prefetch_factor")


def wrap_model(cfg: Config) -> Config:
    """Puts ``cfg.model`` inside the trainer that ``cfg.uda`` describes.

    A config has two keys: ``model``, the plain segmentor that is deployed, and ``uda``, the
    trainer around it; a third, ``execution``, says how both are run on the machine. mmengine's
    runner builds one model; this makes it out of them, and leaves a config that is already
    wrapped, or has no ``uda``, as it is.

    Args:
        cfg: Full config. It is not changed.

    Returns:
        A config whose ``model`` is the trainer.

    Raises:
        UserError: If ``uda`` names no trainer or uses the flat keys of older code bases, or for
            an impossible ``execution``.
    """
    cfg = cfg.copy()
    if cfg.get("uda") is None or "segmentor" in cfg.model:
        return cfg
    spread_execution(cfg)
    uda = cfg.uda
    uda = dict(uda.to_dict() if isinstance(uda, ConfigDict) else uda)
    reject_flat_keys(uda)
    if MODELS.get(uda.get("type", "")) is None:
        raise UserError(
            f"uda.type={uda.get('type')!r} is no registered trainer.",
            fix="Use 'SelfTraining', 'SRHA' or 'Supervised', or import your module in "
            "custom_imports.",
        )
    check_options(MODELS.get(uda["type"]), uda, "uda")
    uda.setdefault("max_iters", (cfg.get("train_cfg") or {}).get("max_iters", 0))
    parameters = inspect.signature(MODELS.get(uda["type"])).parameters
    if "seed" in parameters:
        uda.setdefault("seed", (cfg.get("randomness") or {}).get("seed") or 0)
    # mmengine hands a top-level data_preprocessor to the model; it belongs to the segmentor.
    preprocessor = cfg.pop("data_preprocessor", None)
    if preprocessor is not None:
        cfg.model.setdefault("data_preprocessor", preprocessor)
    cfg.model = ConfigDict(**uda, segmentor=cfg.model)
    cfg.pop("uda")
    return cfg


def build_runner(cfg: Config, start: Start | None = None) -> AdaptationRunner:
    """Builds the runner of a config with ``model`` and ``uda``; see :func:`wrap_model`.

    Args:
        cfg: Full config. It is not changed.
        start: Where the training starts, if that is known (``begin_training``); else
            ``Runner.train`` finds it out.
    """
    cfg = wrap_model(cfg)
    randomness = dict(cfg.get("randomness") or {})
    if start is not None and randomness.get("seed") is None:
        cfg.randomness = {**randomness, "seed": start.seed}  # data are drawn by it
    runner = AdaptationRunner.from_cfg(cfg)
    runner.start = start
    return runner


@RUNNERS.register_module()
class AdaptationRunner(mmengine.runner.Runner):
    """mmengine's runner with atomic checkpoints that load without unpickling code.

    One training runs in a work directory at a time, and stop signals end it in order
    (``mmseg_uda.engine.interruption``). Started with ``launcher``, several processes share a
    training (``mmseg_uda.engine.distributed``); ``sync_bn=True`` in the config then makes
    BatchNorm use the statistics of all their batches. Everything else is stock.

    Attributes:
        start: Where the training starts; found out when it begins.
        allow_changes: Whether a checkpoint may be resumed as another experiment.
    """

    start: Start | None = None
    allow_changes = False
    _env_cfg: dict | None = None

    def setup_env(self, env_cfg: dict) -> None:
        """Connects the processes, then as mmengine."""
        if self.distributed and not is_distributed():
            join_processes(self.launcher, env_cfg.get("dist_cfg", {}))
        super().setup_env(env_cfg)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """mmengine's, without its advice about a class that only mmengine uses."""
        logger = super().build_logger(*args, **kwargs)
        logger.addFilter(_is_news)
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Moves the model to the device; with several processes, wraps a trainer as ours.

        Raises:
            UserError: ``sync_bn`` or ``model_wrapper_cfg`` cannot be used here.
        """
        if self.distributed and not is_model_wrapper(model):
            choose_sync_bn(self.cfg, model)
            if not torch.cuda.is_available():
                model = revert_sync_batchnorm(model)  # of a config written for GPUs
            if isinstance(model, Trainer) or self._train_dataloader is None:
                model_wrapper_cfg = wrapper_config(model_wrapper_cfg)
        return super().wrap_model(model_wrapper_cfg, model)

    def train(self) -> nn.Module:
        """Trains; see mmengine.

        Raises:
            UserError: If another process trains in the work directory, the disk is full, or
                another mistake of the user's comes to light.
            Interrupted: If a signal ended the run; its state is saved.
            MachineError: If a data-loading worker was killed, or hangs.
        """
        interruption = InterruptionHook(StopRequest())
        with ExitStack() as stack:
            if self.start is None:
                self.start = stack.enter_context(begin_training(self.cfg, self.allow_changes))
            # A bad step is written there.
            self.message_hub.update_info("work_dir", self.work_dir)
            stack.callback(interruption.close)
            self.register_hook(interruption)
            try:
                return super().train()
            except StopWaiting:
                interruption.stop_waiting(self)
            except MachineError as error:
                interruption.lost_worker(self, error)
            except BaseException:
                kill_workers()  # of which some may hang
                raise

    @staticmethod
    def build_dataloader(dataloader: Any, *args: Any, **kwargs: Any) -> DataLoader:
        """Builds a loader that watches its workers, which leave stop signals to the training.

        Raises:
            UserError: The config has a key that a loader does not know, or a wrong ``timeout``.
        """
        patience = PATIENCE_SECONDS
        if isinstance(dataloader, Mapping):
            loader_keys = {k: v for k, v in dataloader.items() if k != "num_batch_per_epoch"}
            check_options(DataLoader, loader_keys, "dataloader")
            patience = read_patience(dataloader)
            dataloader = {**dataloader, "timeout": 0}
            if not dataloader.get("num_workers"):  # torch refuses what is about workers then
                for key in OF_WORKERS:
                    dataloader.pop(key, None)
        loader = mmengine.runner.Runner.build_dataloader(dataloader, *args, **kwargs)
        if loader.num_workers:
            loader.worker_init_fn = partial(quiet_worker, loader.worker_init_fn)
        return watch(loader, patience)

    def save_checkpoint(
        self, out_dir: str, filename: str, *args: Any, meta: dict | None = None, **kwargs: Any
    ) -> None:
        """Writes under a temporary name, adds a check sum, flushes to disk, renames.

        A reader sees the old file or the whole new one, whenever the process is killed.

        Raises:
            NonFiniteError: If anything in it would be NaN or infinite.
            UserError: If the disk is full; earlier checkpoints are as they were.
        """
        model = self.model.module if is_model_wrapper(self.model) else self.model
        if isinstance(model, Trainer):
            model.before_save()
        optimizers = optimizers_of(self.optim_wrapper)
        known: dict[str, Any] = {**(meta or {}), "format_version": FORMAT_VERSION, **notes(self)}
        step = known.get("iter")
        require_finite_state(model, optimizers, self.iter if step is None else step)
        written = Path(out_dir) / Path(filename).with_suffix(PARTIAL)
        try:
            super().save_checkpoint(out_dir, written.name, *args, meta=known, **kwargs)
            if is_main_process():
                with open(written, "r+b") as file:
                    seal(file)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(written, Path(out_dir) / filename)
                sync_folder(Path(out_dir))
        except OSError as error:
            written.unlink(missing_ok=True)
            if error.errno not in DISK_FULL:
                raise
            raise no_space(
                Path(out_dir) / filename,
                checkpoint_bytes(self.model, self.optim_wrapper),
                "Free some space, keep fewer checkpoints (default_hooks.checkpoint."
                "max_keep_ckpts=1), or move the folder to another disk. The earlier checkpoints "
                "are intact: the same command with --resume goes on from the newest of them.",
            ) from error

    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = "cpu",
        strict: bool = False,
        revise_keys: Sequence = (),
    ) -> dict:
        """Loads trainer or segmentor weights; see :func:`load_trainer_state`."""
        checkpoint = read_checkpoint(filename)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        model = self.model.module if is_model_wrapper(self.model) else self.model
        load_trainer_state(model, checkpoint, filename, whole=strict)
        self._has_loaded = True
        self.logger.info(f"Loaded {filename}")
        return checkpoint

    def load_or_resume(self) -> None:
        """Resumes, or loads initial weights, as ``start`` says; then tells and records the config.

        An evaluation, which has no start, takes ``load_from``.
        """
        start = self.start or Start()
        if not self._has_loaded:
            for note in start.notes:
                self.logger.warning(note)
            if start.checkpoint is not None:
                self.resume(start.checkpoint)
            elif self._load_from is not None:
                self.load_checkpoint(self._load_from)
                model = self.model.module if is_model_wrapper(self.model) else self.model
                if self.start is not None and isinstance(model, Trainer):
                    model.restart()
        if self._env_cfg is not None:
            super()._log_env(self._env_cfg)
            self.logger.info(f"Hooks by stage, in their order:\n{self.get_hooks_info()}")
            self._env_cfg = None
            if self.start is not None:
                super().dump_config()

    def _log_env(self, env_cfg: dict) -> None:
        """Nothing yet: what is wrong with config or weights is read before all that it tells."""
        self._env_cfg = env_cfg

    def dump_config(self) -> None:
        """Nothing yet: a training that is refused leaves the recorded config as it is."""

    def build_log_processor(self, log_processor: Any) -> Any:
        """mmengine's; what does not say whether it counts steps or epochs counts steps."""
        if isinstance(log_processor, dict):
            log_processor = {"by_epoch": False, **log_processor}
        return super().build_log_processor(log_processor)

    def _build_param_scheduler(self, scheduler: Any, optim_wrapper: Any) -> list:
        return super()._build_param_scheduler(in_steps(scheduler), optim_wrapper)

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Restores the state of a training.

        Rates and schedule are the config's (``mmseg_uda.engine.resume``); where the run writes,
        and all else that it has found out by itself, is not overwritten.

        Args:
            filename: Checkpoint.
            args: Not used, as all that mmengine lets one choose.
            kwargs: Not used.

        Raises:
            UserError: The checkpoint belongs to another network, optimizer or label space.
        """
        restore(self, self.load_checkpoint(filename, strict=True))
        self.logger.info(f"Resumed step {self.iter} of {filename}")


def _is_news(record: logging.LogRecord) -> bool:
    """Not mmengine's deprecated ``FileClient``, nor hooks before anything is known to be right."""
    text = record.getMessage()
    return "will be deprecated" not in text and not text.startswith("Hooks will be executed")


def configure_threads() -> None:
    """Keeps torch to the threads that the environment grants (OMP_NUM_THREADS)."""
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads:
        torch.set_num_threads(int(threads))
