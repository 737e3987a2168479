"""Evaluates a checkpoint with the deployed segmentor alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.model import is_model_wrapper

from mmseg_uda.engine.deployed import deployed_model
from mmseg_uda.engine.processes import from_main_process
from mmseg_uda.engine.runner import AdaptationRunner
from mmseg_uda.engine.tta import Augmentations, with_augmentations
from mmseg_uda.errors import UserError
from mmseg_uda.findings import warnings_of
from mmseg_uda.inspection import check_shape, inspect_test_files
from mmseg_uda.models.weights import load_segmentor_weights, meta_of, read_checkpoint
from mmseg_uda.models.weights.class_names import tell_other_classes

# What a config holds for training only.
TRAINING_KEYS = (
    "train_dataloader",
    "train_cfg",
    "optim_wrapper",
    "param_scheduler",
    "val_dataloader",
    "val_cfg",
    "val_evaluator",
    "uda",
)
TRAINING_HOOKS = ("job_files", "plain_checkpoint")


def test_config(cfg: Config) -> Config:
    """The part of a config that testing needs; ``uda`` is dropped unread."""
    cfg = cfg.copy()
    for key in TRAINING_KEYS:
        cfg.pop(key, None)
    cfg.setdefault("default_hooks", {})
    for name in TRAINING_HOOKS:
        cfg.default_hooks.pop(name, None)
    # mmengine adds these two unless they are switched off by name.
    cfg.default_hooks.update(checkpoint=None, param_scheduler=None)
    cfg.model = deployed_model(cfg)
    cfg.load_from, cfg.resume = None, False
    return cfg


def test_checkpoint(
    cfg: Config,
    checkpoint: str | Path,
    *,
    part: str = "model",
    out_dir: str | None = None,
    format_only: bool = False,
    test_split: bool = False,
    targets: Sequence[str] | None = None,
    hrda_output: str | None = None,
    augmentations: Augmentations | None = None,
) -> dict[str, float]:
    """Evaluates ``checkpoint`` on ``cfg.test_dataloader``.

    Args:
        cfg: Config of a training or of a segmentor.
        checkpoint: File of this project, of mmsegmentation or of a reference repository.
        part: ``model`` (student) or ``ema_model`` (teacher).
        out_dir: Folder for trainId PNGs, named as the images.
        format_only: Write ``out_dir`` and compute nothing (test splits without labels).
        test_split: Use the data set's ``test`` folders instead of ``val``.
        targets: Names of the targets to evaluate, of a config with several; None: all.
        hrda_output: ``LR``, ``HR`` or ``ATT``.
        augmentations: Average over these views of every image (test-time augmentation).

    Returns:
        Metrics by name.

    Raises:
        UserError: If the checkpoint does not fit, options contradict each other, or files cannot be
            what they are taken for.
    """
    cfg = test_config(cfg)
    warnings_of(check_shape(cfg))
    if (format_only or test_split) and out_dir is None:
        raise UserError("Nothing would be written.", fix="Give --out DIR.")
    if targets is not None:
        select_targets(cfg.test_dataloader.dataset, targets)
    if test_split:
        _use_test_split(cfg.test_dataloader.dataset)
    if out_dir is not None:
        cfg.test_evaluator.output_dir = out_dir
        cfg.test_evaluator.format_only = format_only or test_split
    kind = cfg.model.type
    if augmentations is not None:
        if hrda_output == "ATT":
            raise UserError("--hrda-out ATT has no mean over views.", fix="Leave --tta out.")
        cfg = with_augmentations(cfg, augmentations)
    runner = AdaptationRunner.from_cfg(cfg)
    for finding in from_main_process(lambda: warnings_of(inspect_test_files(cfg))):
        runner.logger.warning(str(finding))
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    segmentor = model if augmentations is None else model.module
    content = read_checkpoint(checkpoint)
    load_segmentor_weights(segmentor, content, part, checkpoint)
    named = getattr(runner.test_dataloader.dataset, "metainfo", {}).get("classes") or ()
    tell_other_classes(meta_of(content), named, checkpoint)
    del content  # the evaluation may need the memory
    if hrda_output is not None:
        if not hasattr(segmentor, "output_mode"):
            raise UserError("--hrda-out needs an HRDA segmentor.", fix=f"The config builds {kind}.")
        segmentor.output_mode = hrda_output
    return runner.test()


def set_inference(cfg: Config, mode: str = "same", sequential: bool = False) -> None:
    """Changes how ``cfg.model`` covers an image, in place.

    Args:
        cfg: Config of a training or of a segmentor.
        mode: ``whole``, ``slide`` (windows of the training's crop, half overlapping), or ``same``
            as in the config.
        sequential: One window at a time in place of batches of windows; same result.

    Raises:
        UserError: ``slide`` without a crop size in the config.
    """
    model = cfg.model.segmentor if "segmentor" in cfg.model else cfg.model
    test_cfg = model.setdefault("test_cfg", {"mode": "whole"})
    if mode == "whole":
        test_cfg.mode = "whole"
    elif mode == "slide" and test_cfg.get("mode") != "slide":
        crop = cfg.get("crop_size") or (model.get("data_preprocessor") or {}).get("size")
        if crop is None:
            raise UserError(
                "--inference-mode slide needs the size of its windows.",
                fix="Set that of the training: --cfg-options model.data_preprocessor.size=512,512.",
            )
        test_cfg.update(mode="slide", crop_size=crop, stride=tuple(side // 2 for side in crop))
        test_cfg.batched_slide = True
    if sequential:
        test_cfg.batched_slide = False


def select_targets(dataset: Any, names: Sequence[str]) -> None:
    """Keeps the named targets of a ``MultiTargetDataset``'s config, in place and in its order.

    Raises:
        UserError: The config has no such target.
    """
    known = dict(dataset.get("targets") or {})
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(
            f"The config has no target '{unknown[0]}'.",
            fix=f"Use {', '.join(known)}." if known else "It evaluates a single data set.",
        )
    dataset.targets = {name: one for name, one in known.items() if name in names}


def _use_test_split(dataset: Any) -> None:
    """Points a data set at the published layout's test images, which have no labels."""
    if dataset.get("targets"):
        raise UserError(
            "--test-set needs a config with a single target.",
            fix="Set the split of each target with --cfg-options "
            "test_dataloader.dataset.targets.NAME.split=test.",
        )
    for key in ("img_dir", "label_dir"):
        if dataset.pop(key, None) is not None:
            raise UserError(
                f"--test-set does not know where test images are: {key} is set by hand.",
                fix="Set test_dataloader.dataset.img_dir with --cfg-options instead of --test-set.",
            )
    dataset["split"] = "test"
    dataset["images_only"] = True
