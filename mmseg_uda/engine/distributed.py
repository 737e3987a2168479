"""A trainer in one of several processes, as mmengine's runner wants it wrapped."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODEL_WRAPPERS
from torch import nn

from mmseg_uda.engine.exchange import BUCKET_MIB
from mmseg_uda.engine.optim_wrapper import StepOptimWrapper
from mmseg_uda.engine.trainer import Trainer
from mmseg_uda.errors import UserError


def choose_sync_bn(cfg: Config, model: nn.Module) -> None:
    """Brings ``cfg.sync_bn`` into the form that mmengine reads, in place.

    Args:
        cfg: The run's config; ``sync_bn`` is True, ``"torch"``, or False or None for none.
        model: The model whose BatchNorm layers mmengine will replace.

    Raises:
        UserError: torch has no synchronised BatchNorm for this machine, or the model cannot use
            it, or another implementation is asked for.
    """
    wanted = cfg.get("sync_bn")
    if wanted in (None, False):
        cfg.sync_bn = None
        return
    if wanted not in (True, "torch"):
        raise UserError(f"sync_bn={wanted!r} is unknown.", fix="Use sync_bn=True or leave it out.")
    if not torch.cuda.is_available():
        raise UserError(
            "torch has synchronised BatchNorm for GPUs only, and there is none.",
            fix="Leave sync_bn out; running statistics are averaged over the processes all the "
            "same.",
        )
    if isinstance(model, Trainer):
        model.check_sync_bn()
    cfg.sync_bn = "torch"


def wrapper_config(given: dict | None) -> dict:
    """The config of our wrapper, with what ``model_wrapper_cfg`` says about it.

    Raises:
        UserError: If it names another wrapper.
    """
    config = {"type": "StepDataParallel", **(given or {})}
    if config["type"] != "StepDataParallel":
        raise UserError(
            f"model_wrapper_cfg.type={config['type']!r} cannot run a trainer's step.",
            fix="Leave model_wrapper_cfg out.",
        )
    return config


# mmengine looks for wrappers in its own registry and in one child only.
@MODEL_WRAPPERS.register_module()
class StepDataParallel(nn.Module):
    """A trainer in one of several processes; the runner of a distributed run wraps it.

    The trainer makes the exchange itself (``mmseg_uda.engine.exchange``); mmengine's own wrapper
    would take gradients from hooks in the backward passes. Checkpoints hold the trainer's names,
    without a prefix.

    Args:
        module: The trainer.
        bucket_mib: Size of one message in MiB.
    """

    module: Trainer

    def __init__(self, module: nn.Module, bucket_mib: float = BUCKET_MIB) -> None:
        super().__init__()
        self.module = module  # type: ignore[assignment]
        self.module.bucket_mib = bucket_mib

    def train_step(self, data: Any, optim_wrapper: StepOptimWrapper) -> dict:
        """One optimizer step on this process's batch, with the mean of all gradients."""
        return self.module.train_step(data, optim_wrapper)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's own."""
        return self.module(*args, **kwargs)

    def val_step(self, data: Any) -> list:
        """Predicts this process's share of a validation batch."""
        return self.module.val_step(data)

    def test_step(self, data: Any) -> list:
        """Predicts this process's share of a test batch."""
        return self.module.test_step(data)
