"""Settings that are right by themselves and have no effect beside the others."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from mmseg_uda.cfg_options import TESTING_KEYS, TOP_LEVEL, nearest
from mmseg_uda.data_root import VARIABLE, below_data
from mmseg_uda.findings import Finding, Level
from mmseg_uda.taxonomy import LAYOUTS
from mmseg_uda.taxonomy.layouts import DEPTH_LOADER

from .data_sets import OURS, entries_of, steps_of

AREA = "config"
ALIKE = 0.85
"""Similarity from which a key counts as a misspelt one."""
SAMPLER = "PairSampler"
SAMPLINGS = ("rare_class_sampling", "class_uniform_sampling")
OLDER_KEYS = {
    "data": "train_dataloader, val_dataloader and test_dataloader",
    "lr_config": "param_scheduler",
    "optimizer_config": "optim_wrapper (clip_grad, accumulative_counts)",
    "runner": "train_cfg=dict(type='TrainLoop', max_iters=...)",
    "total_iters": "train_cfg.max_iters",
    "checkpoint_config": "default_hooks.checkpoint",
    "log_config": "default_hooks.logger, and --log for trackers",
    "evaluation": "train_cfg.val_interval and val_evaluator",
    "dist_params": "env_cfg.dist_cfg",
    "fp16": "--amp fp16",
    "gpu_ids": "the environment variable CUDA_VISIBLE_DEVICES",
    "resume_from": "--resume",
}
"""Keys of configs for mmcv 0.x and 1.x that the runner does not read: what takes their place."""


SEGMENTORS = ("SlideEncoderDecoder", "HRDAEncoderDecoder")
MASKS = "TorchMask2FormerHead"
FALLING = ("PolyLR", "CosineAnnealingLR")
CHECKPOINT_HOOK = "SafeCheckpointHook"
CHECKPOINT_KEYS = (
    *("type", "interval", "by_epoch", "save_optimizer", "save_param_scheduler", "out_dir"),
    *("max_keep_ckpts", "save_last", "save_best", "rule", "greater_keys", "less_keys"),
    *("file_client_args", "filename_tmpl", "backend_args", "published_keys", "save_begin"),
    "priority",
)


def check_idle(config: Mapping[str, Any]) -> list[Finding]:
    """Finds settings without effect."""
    data = (config.get("train_dataloader") or {}).get("dataset") or {}
    findings = [
        *_older_keys(config),
        *_misspelt(config),
        *_sampling(config.get("train_dataloader") or {}, data),
        *_average((config.get("uda") or {}).get("ema"), config.get("train_cfg") or {}),
        *_epochs(config.get("train_cfg") or {}),
        *_schedules(config.get("param_scheduler"), config.get("train_cfg") or {}),
    ]
    findings += [*_of_network(config.get("model") or {}), *_of_checkpoints(config)]
    findings += [*_of_log(config.get("log_processor") or {}), *_data_root(config)]
    for key, _, item in entries_of(config):
        if item.get("type") in OURS:
            findings += _of_data_set(key, item, config, data)
    if data.get("target_labels_for_diagnosis") and not (config.get("uda") or {}).get("diagnosis"):
        findings.append(
            _idle(
                "train_dataloader.dataset.target_labels_for_diagnosis",
                "no component looks at the labels.",
                "Add uda.diagnosis=dict(type='PseudoLabelQuality'), or leave it out.",
            )
        )
    return findings


def _idle(key: str, reason: str, fix: str, level: Level = Level.WARNING) -> Finding:
    return Finding(AREA, level, f"{key} has no effect: {reason}", fix=fix)


def _older_keys(config: Mapping[str, Any]) -> Iterator[Finding]:
    if "train_dataloader" not in config:
        return
    for key, now in OLDER_KEYS.items():
        if config.get(key) is not None:
            yield _idle(key, "it is of an older config format.", f"Use {now}.", Level.PROBLEM)
    # In configs of mmsegmentation 1.x both are variables that other keys use.
    optimizer = (config.get("optim_wrapper") or {}).get("optimizer")
    if config.get("optimizer") not in (None, optimizer):
        yield _idle("optimizer", "another one is in use.", "Set optim_wrapper.optimizer.")
    seed = (config.get("randomness") or {}).get("seed")
    if config.get("seed") not in (None, seed):
        yield _idle("seed", f"the training's is {seed}.", "Set randomness.seed, or give --seed.")


def _misspelt(config: Mapping[str, Any]) -> Iterator[Finding]:
    """Keys at the top that are almost one that is read; others may be a config's own variables."""
    for key in config:
        near = difflib.get_close_matches(key, TOP_LEVEL, n=1, cutoff=ALIKE)
        if key not in TOP_LEVEL and near and not near[0].endswith("_pipeline"):
            yield _idle(key, "nothing reads it.", f"Did you mean {near[0]}?")


def _sampling(loader: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[Finding]:
    sampler = loader.get("sampler") or {}
    chosen = [name for name in SAMPLINGS if data.get(name) is not None]
    ours = sampler.get("type") == SAMPLER and sampler.get("shuffle", True)
    if data.get("type") == "DomainPairDataset" and chosen and not ours:
        yield _idle(
            f"train_dataloader.dataset.{chosen[0]}",
            f"train_dataloader.sampler={dict(sampler)} counts through the images in order.",
            f"Set train_dataloader.sampler=dict(type={SAMPLER!r}), which shuffles.",
            Level.PROBLEM,
        )


def _average(average: Any, training: Mapping[str, Any]) -> Iterator[Finding]:
    begin = average.get("begin") if isinstance(average, Mapping) else None
    steps = training.get("max_iters")
    if isinstance(begin, int) and isinstance(steps, int) and begin >= steps:
        fix = "Give an earlier begin, or leave uda.ema out."
        yield _idle("uda.ema", f"it begins after step {steps}, the last.", fix)


def _epochs(training: Mapping[str, Any]) -> Iterator[Finding]:
    """A loop over epochs, which has no end here: loaders go on past the end of a data set."""
    if training.get("by_epoch"):
        key = "by_epoch"
    elif "max_epochs" in training:
        key = "max_epochs"
    elif str(training.get("type")).startswith("Epoch"):
        key = "type"
    else:
        return
    fix = "Use train_cfg=dict(type='TrainLoop', max_iters=..., val_interval=...), in steps."
    yield _idle(f"train_cfg.{key}", "trainings count steps.", fix, Level.PROBLEM)


def _schedules(schedules: Any, training: Mapping[str, Any]) -> Iterator[Finding]:
    steps, of_optimizers = training.get("max_iters"), {"param_scheduler": schedules}
    if isinstance(schedules, Mapping) and "type" not in schedules:
        of_optimizers = {f"param_scheduler.{name}": group for name, group in schedules.items()}
    for key, group in of_optimizers.items():
        several = isinstance(group, (list, tuple))
        entries = list(enumerate(group) if several else [(0, group)])
        entries = [(number, entry) for number, entry in entries if isinstance(entry, Mapping)]
        for number, entry in entries:
            epochs = entry.get("by_epoch") and not entry.get("convert_to_iter_based")
            if epochs and not str(entry.get("type")).startswith("ReduceOnPlateau"):
                where = f"{key}[{number}]" if several else key
                fix = "Set by_epoch=False, and begin and end to numbers of steps."
                yield _idle(f"{where}.by_epoch", "trainings count steps.", fix, Level.PROBLEM)
        ends = [entry["end"] for _, entry in entries if _falls_to_nothing(entry)]
        if isinstance(steps, int) and ends and max(ends) < steps - 1:
            about = f"the learning rate is 0 from step {max(ends)} on, and there are {steps}."
            fix = "Set end of the last schedule to train_cfg.max_iters, or give an eta_min."
            yield Finding(AREA, Level.WARNING, f"{key}: {about}", fix=fix)


def _falls_to_nothing(entry: Mapping[str, Any]) -> bool:
    counted = isinstance(entry.get("end"), int) and not entry.get("convert_to_iter_based")
    floor = entry.get("eta_min") or entry.get("eta_min_ratio")
    return counted and entry.get("type") in FALLING and not floor


def _of_network(model: Mapping[str, Any]) -> Iterator[Finding]:
    auxiliary = model.get("auxiliary_head") or ()
    heads = {"decode_head": model.get("decode_head")}
    if isinstance(auxiliary, Mapping):
        heads["auxiliary_head"] = auxiliary
    else:
        heads |= {f"auxiliary_head.{i}": head for i, head in enumerate(auxiliary)}
    for key, head in heads.items():
        masks = isinstance(head, Mapping) and head.get("type") == MASKS
        if masks and head.get("sampler") is not None:  # type: ignore[union-attr]
            yield _idle(
                f"model.{key}.sampler",
                "masks are supervised at random points.",
                "Leave it out; see num_points of its loss.",
                Level.PROBLEM,
            )
    if model.get("type") not in SEGMENTORS:
        return
    for key in model.get("test_cfg") or ():
        if key not in TESTING_KEYS:
            fix = f"{nearest(key, TESTING_KEYS)}Known: {', '.join(TESTING_KEYS)}."
            yield _idle(f"model.test_cfg.{key}", "nothing reads it.", fix, Level.PROBLEM)
    for key in model.get("train_cfg") or ():
        yield _idle(f"model.train_cfg.{key}", "nothing reads it.", "See uda and train_cfg.")


def _of_checkpoints(config: Mapping[str, Any]) -> Iterator[Finding]:
    hook = (config.get("default_hooks") or {}).get("checkpoint") or {}
    if hook.get("type") != CHECKPOINT_HOOK:
        return
    where = "default_hooks.checkpoint"
    for key in hook:
        if key not in CHECKPOINT_KEYS:
            fix = f"{nearest(key, CHECKPOINT_KEYS)}Known: {', '.join(CHECKPOINT_KEYS[1:])}."
            yield _idle(f"{where}.{key}", "nothing reads it.", fix, Level.PROBLEM)
    if hook.get("by_epoch"):
        fix = "Set by_epoch=False, and interval to a number of steps."
        yield _idle(f"{where}.by_epoch", "trainings count steps.", fix, Level.PROBLEM)


def _of_log(processor: Mapping[str, Any]) -> Iterator[Finding]:
    if processor.get("by_epoch"):
        key, fix = "log_processor.by_epoch", "Set by_epoch=False, or leave it out."
        yield _idle(key, "trainings count steps.", fix, Level.PROBLEM)


def _data_root(config: Mapping[str, Any]) -> Iterator[Finding]:
    """A folder in place of ``data``, from which no data set of the config is read."""
    items = [(key, item) for key, _, item in entries_of(config) if item.get("type") in OURS]
    roots = {key: str(item.get("data_root") or "data") for key, item in items}
    folder = os.environ.get(VARIABLE)
    if folder and roots and not any(map(below_data, roots.values())):
        key, root = next(iter(roots.items()))
        reason = f"it stands in for data/, and no data set lies there ({key}.data_root={root!r})."
        fix = f"Leave it out, or set data_root to folders below data/. It is {folder!r} now."
        yield _idle(f"--data-root (or ${VARIABLE})", reason, fix)


def _of_data_set(
    key: str, item: Mapping[str, Any], config: Mapping[str, Any], data: Mapping[str, Any]
) -> Iterator[Finding]:
    diagnosed = key.endswith(".target") and data.get("target_labels_for_diagnosis")
    if item.get("images_only") and item.get("label_map") is not None and not diagnosed:
        yield _idle(
            f"{key}.label_map", "images_only=True uses no labels.", "Leave one of them out."
        )
    labels = item.get("label_dir") is not None or item.get("images_only")
    by_hand = item.get("img_dir") is not None and labels
    if item.get("type") in LAYOUTS and by_hand and item.get("split") is not None:
        yield _idle(
            f"{key}.split",
            "img_dir and label_dir name the folders.",
            "Leave split out, or the two of them.",
        )
    loads = any(step.get("type") == DEPTH_LOADER for step in steps_of(item))
    if not loads and not (config.get("uda") or {}).get("depth"):
        for option in ("depth_dir", "depth_suffix"):
            if item.get(option) is not None:
                yield _idle(
                    f"{key}.{option}",
                    "nothing reads depth files.",
                    f"Add dict(type={DEPTH_LOADER!r}) to the pipeline, or leave it out.",
                )
