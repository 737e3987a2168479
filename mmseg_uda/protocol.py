"""How numbers were made: what is evaluated and how, and with which software. No torch."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mmseg_uda import __version__
from mmseg_uda.config_files import ROOT

PACKAGES = ("torch", "mmcv", "mmengine", "mmsegmentation")
STUDENT, TEACHER, AVERAGE = "student", "teacher", "average of the weights"


def evaluation_way(config: Mapping[str, Any], when: str = " at the last iteration") -> str:
    """Returns network, iteration, resolution, window and classes of an evaluation.

    Args:
        config: Of a training, with ``model`` (a segmentor), ``uda`` and ``val_dataloader``.
        when: Which of its predictions, after a space.
    """
    test = config["model"].get("test_cfg") or {}
    dataset = (config.get("val_dataloader") or {}).get("dataset") or {}
    targets = dataset.get("targets") or {"": dataset}
    size = " or ".join(dict.fromkeys(map(_size, targets.values())))
    window = "whole images"
    if test.get("mode") == "slide":
        crop, stride = (test["crop_size"], test["stride"])
        window = f"windows of {crop[0]}x{crop[1]}, stride {stride[0]}x{stride[1]}"
    classes = last_head(config["model"]).get("num_classes")
    return (
        f"{evaluated_network(config).capitalize()}{when}, {network_name(config['model'])}, images "
        f"within {size}, {window}, {classes} classes"
        + (f", targets {', '.join(targets)}" if len(targets) > 1 else "")
    )


def _size(dataset: Mapping[str, Any]) -> str:
    """Returns what the images of a data set are shrunk or enlarged to fit into."""
    scales = [step["scale"] for step in dataset.get("pipeline", ()) if "scale" in step]
    return "x".join(map(str, scales[-1])) if scales else "their own size"


def evaluated_network(config: Mapping[str, Any]) -> str:
    """Returns whose predictions validations measure, in words."""
    uda = config.get("uda") or {}
    averaged = uda.get("inference") == "teacher" or uda.get("ema") is not None
    return part_name(config, "ema_model" if averaged else "model")


def part_name(config: Mapping[str, Any], part: str) -> str:
    """Returns what a network of a training's checkpoint is: its student, or what averages that.

    Args:
        config: Of the training.
        part: ``'model'`` or ``'ema_model'``.
    """
    if part == "model":
        return STUDENT
    uda = config.get("uda") or {}
    return TEACHER if uda.get("ema") is None else AVERAGE


def network_name(model: Mapping[str, Any]) -> str:
    """Returns decoder and encoder of a segmentor's config in words."""
    head = last_head(model)
    name = head.get("single_scale_head", head.get("type"))
    network = f"{name} on {model.get('backbone', {}).get('type')}"
    return network + " in HRDA" * (head.get("type") == "HRDAHead")


def last_head(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the config of the decoder whose predictions count: of a cascade the last."""
    head = model["decode_head"]
    return head if isinstance(head, Mapping) else head[-1]


@cache
def software() -> str:
    """Returns the versions of this package and of what it stands on, and the git revision."""
    named = [f"mmseg_uda {__version__}"]
    for package in PACKAGES:
        for name in (package, f"onedl-{package}"):
            try:
                named.append(f"{name} {version(name)}")
                break
            except PackageNotFoundError:
                continue
    revision = _revision()
    return ", ".join(named) + (f", git revision {revision}" if revision else "")


def _revision() -> str:
    """Returns the short commit of this checkout, '' where there is none."""
    if not (ROOT / ".git").exists():  # else git would tell of a repository around this folder
        return ""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
