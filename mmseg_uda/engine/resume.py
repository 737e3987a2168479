"""Restoring the optimizer of a resumed training, with the rates and the schedule of the config.

A checkpoint brings the optimizer's memory (moments, steps taken). Learning rate, weight decay and
the other settings are the config's, and its schedule is gone through again up to the checkpoint's
step: numbers and rounding are those of a training that had this schedule from the beginning.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.dist import get_world_size
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from mmseg_uda.engine.config_changes import PROCESSES
from mmseg_uda.errors import UserError

GROUPS = "parameter_groups"
SAMPLES = "samples"
FIX = (
    "Resume with the optimizer of the checkpoint's config, or start anew in another --work-dir "
    "(load_from takes the weights)."
)


def notes(runner: Any) -> dict[str, Any]:
    """What a checkpoint notes beside its config, so that a resume can compare it."""
    return {
        PROCESSES: get_world_size(),
        SAMPLES: _samples(runner),
        GROUPS: parameter_groups(runner.model, runner.optim_wrapper),
    }


def restore(runner: Any, checkpoint: Mapping[str, Any]) -> None:
    """Brings a runner, whose networks are loaded, to the step of a checkpoint.

    What the run has found out by itself, such as where it writes, is not overwritten.

    Args:
        runner: The training's, all of it built from the config.
        checkpoint: State of a training.

    Raises:
        UserError: The state is of another optimizer, of other parameter groups or data.
    """
    meta, hub = checkpoint["meta"], runner.message_hub
    _check_data(runner, meta)
    runner.train_loop._epoch, runner.train_loop._iter = meta.get("epoch", 0), meta["iter"]
    known = (checkpoint.get("message_hub") or {}).get("runtime_info") or {}
    hub.update_info_dict({**known, **hub.runtime_info})
    restore_optimizer(runner.model, runner.optim_wrapper, runner.param_schedulers, checkpoint)
    rates = [rate for each in runner.optim_wrapper.get_lr().values() for rate in each]
    if meta["iter"] < runner.max_iters - 1 and not any(rates):  # a schedule may end at 0
        runner.logger.warning(
            f"The learning rate is 0 from the resumed step {meta['iter']} on: param_scheduler "
            f"ends before train_cfg.max_iters={runner.max_iters}."
        )


def parameter_groups(model: nn.Module, optim_wrapper: Any) -> list[list[str]]:
    """Names of the parameters in each of the optimizer's groups, for a checkpoint."""
    model = model.module if is_model_wrapper(model) else model
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    if not isinstance(optim_wrapper, OptimWrapper):
        return []  # nothing is built
    if isinstance(optim_wrapper, OptimWrapperDict):
        return [group for one in optim_wrapper.values() for group in parameter_groups(model, one)]
    groups = optim_wrapper.optimizer.param_groups
    return [[names.get(id(parameter), "") for parameter in g["params"]] for g in groups]


def restore_optimizer(
    model: nn.Module,
    optim_wrapper: OptimWrapper,
    schedulers: Any,
    checkpoint: Mapping[str, Any],
) -> None:
    """Loads the optimizer's state, and brings rates and schedule to the checkpoint's step.

    A schedule that depends on past validations cannot be gone through again: there, and with
    several optimizers, settings and schedule are the checkpoint's.

    Args:
        model: The trainer.
        optim_wrapper: As built from the config, in the first step of the schedule.
        schedulers: The runner's, as built from the config; None without a schedule.
        checkpoint: State of a training.

    Raises:
        UserError: The state is of another optimizer or of other parameter groups.
    """
    every = _listed(schedulers)
    several = isinstance(optim_wrapper, OptimWrapperDict)
    if not several:
        check_groups(model, optim_wrapper, checkpoint)
    if several or any(getattr(scheduler, "need_val_args", False) for scheduler in every):
        optim_wrapper.load_state_dict(dict(checkpoint["optimizer"]))
        states = _listed(checkpoint.get("param_schedulers"))
        for scheduler, state in zip(every, states, strict=False):
            scheduler.load_state_dict(state)
        return
    own = [_settings(group, optim_wrapper, every) for group in optim_wrapper.param_groups]
    optim_wrapper.load_state_dict(dict(checkpoint["optimizer"]))
    for group, settings in zip(optim_wrapper.param_groups, own, strict=True):
        group.update(settings)
    with warnings.catch_warnings():
        # mmengine misses the optimizer's steps between those of the schedule.
        warnings.filterwarnings("ignore", message="Detected call of `scheduler.step")
        for _ in range(checkpoint["meta"]["iter"]):
            for scheduler in every:
                if not scheduler.by_epoch:
                    scheduler.step()


def _check_data(runner: Any, meta: Mapping[str, Any]) -> None:
    stored = meta.get("dataset_meta")
    then = list(stored.get("classes") or ()) if isinstance(stored, Mapping) else []
    now = list(getattr(runner.train_dataloader.dataset, "metainfo", {}).get("classes") or ())
    samples = _samples(runner)
    if then and now and then != now:
        told = f"classes ({', '.join(map(str, then))}; now {', '.join(map(str, now))})"
        fix = "Put the taxonomy back as it was"
    elif meta.get(SAMPLES, samples) != samples:
        told = f"samples or pairs of samples ({meta[SAMPLES]}, now {samples})"
        fix = "Put the images back as they were"
    else:
        return
    if runner.start is None or not runner.start.allow_changes:
        raise UserError(
            f"The checkpoint was trained on data with other {told}.",
            fix=f"{fix}, give another --work-dir for a new training, or --allow-changes to go on "
            "all the same.",
        )


def _samples(runner: Any) -> int | None:
    """Length of the training's data set; None for one without."""
    dataset = runner.train_dataloader.dataset
    return len(dataset) if hasattr(dataset, "__len__") else None


def check_groups(
    model: nn.Module, optim_wrapper: OptimWrapper, checkpoint: Mapping[str, Any]
) -> None:
    """Compares the optimizer with the state in a checkpoint.

    Raises:
        UserError: They are of different kinds, or group the parameters in different ways.
    """
    optimizer = optim_wrapper.optimizer
    state, own = checkpoint["optimizer"], optimizer.param_groups
    saved = state.get("param_groups", [])
    for old, new in zip(saved, own, strict=False):
        # A newer torch may know more settings; two optimizers have each some of their own.
        if old.keys() - new.keys() - _scheduled(old) and new.keys() - old.keys():
            raise UserError(
                f"The checkpoint is of another optimizer than {type(optimizer).__name__} "
                "(optim_wrapper.optimizer.type).",
                fix=FIX,
            )
    names, stored = parameter_groups(model, optim_wrapper), checkpoint["meta"].get(GROUPS)
    same = [len(group["params"]) for group in saved] == [len(group) for group in names]
    if stored is None:  # written by an earlier version
        parameters = [parameter for group in own for parameter in group["params"]]
        same = same and all(
            value.shape == parameters[number].shape
            for number, memory in state.get("state", {}).items()
            for name, value in memory.items()
            if name in ("exp_avg", "momentum_buffer") and value is not None
        )
    elif stored != names:
        same = False
    if not same:
        raise UserError(
            f"The checkpoint's optimizer has other parameter groups ({len(saved)}, now "
            f"{len(own)}), whose moments belong to other parameters: optim_wrapper.paramwise_cfg, "
            "its constructor, or what is frozen has changed.",
            fix=FIX,
        )


def _settings(
    group: Mapping[str, Any], optim_wrapper: OptimWrapper, schedulers: Sequence[Any]
) -> dict[str, Any]:
    """What the config sets in a group: arguments of the optimizer, and what is scheduled.

    Some optimizers keep memory of their own there as well.
    """
    names = {*inspect.signature(type(optim_wrapper.optimizer)).parameters} - {"params"}
    names |= {scheduler.param_name for scheduler in schedulers}
    wanted = {*names, *(f"initial_{name}" for name in names)}
    return {name: value for name, value in group.items() if name in wanted}


def _scheduled(group: Mapping[str, Any]) -> set[str]:
    return {name for name in group if name.startswith("initial_")}


def _listed(schedulers: Any) -> list[Any]:
    """Schedulers, or their states, of all optimizers in one list."""
    if schedulers is None:
        return []
    if isinstance(schedulers, Mapping):
        return [one for each in schedulers.values() for one in _listed(each)]
    return list(schedulers) if isinstance(schedulers, Sequence) else [schedulers]
