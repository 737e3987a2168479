"""From the settings of a job to the text of its config."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.experiments.grid import DepthMatching, Relabelling, Setup
from mmseg_uda.experiments.naming import DEFAULT_CROP

ROOT = Path(__file__).resolve().parents[2]
BASE_FOLDER = ROOT / "configs" / "_base_"

RCS_MIN_PIXELS = 3000
MARGINS_V1 = {"pseudo_weight_ignore_top": 15, "pseudo_weight_ignore_bottom": 120}
MARGINS_V2 = [30, 240, 30, 30]  # top, bottom, left, right; native pixels of the target image

SUPERVISED = ("source-only", "target-only")

HRDA_OPTIONS: dict[str, dict[str, Any]] = {
    "fixedatt": {"fixed_attention": 0.5},
    "nooverlap": {"hr_slide_overlapping": False},
    "singleatt": {"attention_classwise": False},
    "blurhr": {"blur_hr_crop": True},
}


def split_architecture(architecture: str) -> tuple[list[str] | None, str]:
    """Splits 'hrda1-512-0.1[-option...]_decoder' into HRDA's arguments, if any, and the decoder."""
    head, _, decoder = architecture.partition("_")
    if head.startswith("hrda1-"):
        return head.split("-")[1:], decoder
    return None, architecture


def crop_size(crop: str) -> tuple[int, int]:
    """Returns (height, width) of '{height}x{width}'."""
    height, width = crop.split("x")
    return int(height), int(width)


def base_files(setup: Setup) -> list[str]:
    """Returns the base files of a job, relative to ``configs/_base_``.

    Raises:
        UserError: When one of them does not exist.
    """
    hrda, decoder = split_architecture(setup.architecture)
    scales = "" if hrda is None else "hrda1_"
    curve = "_csi" if setup.recipe == "csi" else ""
    if setup.uda == "source-only":
        data = f"{setup.source}_to_{setup.target}_{setup.crop}"
    elif setup.uda == "target-only":
        data = f"{setup.target}_{setup.crop}"
    else:
        data = f"uda_{setup.source}_to_{setup.target}_{setup.crop}"
        data += "" if setup.depth is None else "_depth"
    files = [
        "default_runtime.py",
        f"models/{scales}{decoder}_{setup.backbone}.py",
        f"datasets/{data}.py",
        f"schedules/{setup.optimizer}.py",
        f"schedules/{setup.schedule}{curve}.py",
    ]
    files.append("uda/supervised.py" if setup.uda in SUPERVISED else f"uda/{setup.uda}.py")
    absent = [file for file in files if not (BASE_FOLDER / file).is_file()]
    if absent:
        raise UserError(
            "A row needs config files that do not exist: "
            + ", ".join(f"configs/_base_/{file}" for file in absent),
            fix="Correct the row's setup in experiments.py, or add the files.",
        )
    return files


def overrides(setup: Setup) -> dict[str, Any]:
    """Returns what a job's config says beyond its base files."""
    config: dict[str, Any] = {
        "randomness": {"seed": setup.seed},
        "train_cfg": {
            "max_iters": setup.iterations,
            "val_interval": max(1, setup.iterations // setup.evaluations),
        },
        "train_dataloader": {"batch_size": setup.batch_size, "dataset": _data(setup)},
        "model": _model(setup),
        "uda": _uda(setup),
    }
    if setup.save_best:
        config["default_hooks"] = {"checkpoint": {"save_best": "mIoU", "rule": "greater"}}
    optimizer = _optimizer(setup)
    if optimizer:
        config["optim_wrapper"] = optimizer
    return {key: value for key, value in config.items() if value}


def job_config(setup: Setup, folder: Path, header: str = "") -> str:
    """Returns the text of a job's config file.

    Args:
        setup: The job's settings.
        folder: Where the file will be; the paths of its bases are relative to it inside the
            repository, absolute elsewhere.
        header: Comment for the top of the file.
    """
    bases = [base_path(BASE_FOLDER / file, folder) for file in base_files(setup)]
    return render({"_base_": bases, **overrides(setup)}, header)


def base_path(file: Path, folder: Path) -> str:
    """Returns how a config in ``folder`` names a base: relative, if both are in the repository."""
    inside = folder.resolve().is_relative_to(ROOT) and file.is_relative_to(ROOT)
    return os.path.relpath(file, folder.resolve()) if inside else str(file)


def render(config: Mapping[str, Any], header: str = "") -> str:
    """Returns a config as Python text, keeping tuples and numbers exact."""
    lines = [f"# {line}" for line in header.splitlines()]
    lines += [f"{key} = {literal(value)}" for key, value in config.items()]
    return "\n".join(lines) + "\n"


def literal(value: Any, indent: int = 0, width: int = 96) -> str:
    """Returns a value as a Python expression in the style of config files."""
    inner, closing = " " * (indent + 4), " " * indent
    if isinstance(value, Mapping):
        plain = all(isinstance(k, str) and re.fullmatch(r"[A-Za-z_]\w*", k) for k in value)
        items = [
            f"{k}={literal(v, indent + 4)}" if plain else f"{k!r}: {literal(v, indent + 4)}"
            for k, v in value.items()
        ]
        before, after = ("dict(", ")") if plain else ("{", "}")
    elif isinstance(value, (list, tuple)):
        items = [literal(v, indent + 4) for v in value]
        before, after = ("[", "]") if isinstance(value, list) else ("(", ")")
        if isinstance(value, tuple) and len(items) == 1:
            after = ",)"
    elif isinstance(value, float) and value in (float("inf"), float("-inf")):
        return f"float('{value}')"
    else:
        return repr(value)
    short = before + ", ".join(items) + after
    if len(short) + indent <= width and "\n" not in short:
        return short
    body = "".join(f"{inner}{item},\n" for item in items)
    return f"{before}\n{body}{closing}{after.lstrip(',')}"


def _data(setup: Setup) -> dict[str, Any]:
    data: dict[str, Any] = {}
    if setup.rcs_temperature is not None:
        data["rare_class_sampling"] = {
            "min_pixels": RCS_MIN_PIXELS,
            "class_temp": setup.rcs_temperature,
            "min_crop_ratio": setup.rcs_min_crop,
        }
    if setup.sync_crop is not None:
        data["sync_crop_size"] = setup.sync_crop
    if setup.margins == "v2":
        data["target"] = {"crop_pseudo_margins": MARGINS_V2}
    return data


def _model(setup: Setup) -> dict[str, Any]:
    hrda, decoder = split_architecture(setup.architecture)
    # CSI's DeepLabV2 runs keep the stock average over all pixels (its code's configs).
    average = setup.recipe == "csi" and not decoder.startswith("dlv2")
    head: dict[str, Any] = {"loss_decode": {"avg_non_ignore": True}} if average else {}
    model: dict[str, Any] = {}
    inner = setup.sync_crop or crop_size(setup.crop)
    if hrda is not None or inner != crop_size(DEFAULT_CROP):
        # What the network sees: the bases' size, where it is larger, would pad every image.
        model["data_preprocessor"] = {"size": inner}
    if hrda is not None:
        crop, weight, *options = hrda
        model["hr_crop_size"] = (int(crop), int(crop))
        head["hr_loss_weight"] = float(weight)
        for option in options:
            _apply_hrda_option(option, model, head)
        if inner == model["hr_crop_size"]:
            # Nothing is left for the low-resolution view to add but its own loss.
            head["lr_loss_weight"] = float(weight)
            if "_fd" in setup.uda:
                model["feature_scale"] = "all"
    if head:
        model["decode_head"] = head
    if setup.inference == "slide":
        height, width = inner
        model["test_cfg"] = {
            "mode": "slide",
            "batched_slide": True,
            "crop_size": (height, width),
            "stride": (height // 2, width // 2),
        }
    elif hrda is not None:  # their bases slide
        model["test_cfg"] = {"_delete_": True, "mode": "whole"}
    return model


def _apply_hrda_option(option: str, model: dict[str, Any], head: dict[str, Any]) -> None:
    if option in ("nooverlap", "blurhr"):
        model.update(HRDA_OPTIONS[option])
    elif option in HRDA_OPTIONS:
        head.update(HRDA_OPTIONS[option])
    elif option == "samescale":
        model.update(scales=[1, 1], feature_scale=1)
    elif option.startswith("grid"):
        model["crop_coord_divisible"] = int(option[4:])
    elif option.startswith("sc"):
        scale = float(option[2:])
        model.update(scales=[1, scale], feature_scale=scale)
    else:
        raise UserError(
            f"Unknown HRDA option '{option}' in an architecture name.",
            fix=f"Known: {', '.join(HRDA_OPTIONS)}, samescale, sc<scale>, grid<pixels>.",
        )


def _uda(setup: Setup) -> dict[str, Any]:
    if setup.uda in SUPERVISED:
        return {}
    uda: dict[str, Any] = dict(MARGINS_V1) if setup.margins == "v1" else {}
    if setup.masking is not None:
        masking = setup.masking
        uda["masking"] = {
            "type": "MaskedConsistency",
            "mode": masking.mode,
            "mask_ratio": masking.ratio,
            "block_size": masking.block,
            "loss_weight": masking.weight,
            "alpha": masking.alpha,
            "pseudo_threshold": masking.threshold,
        }
    if setup.relabelling is not None and setup.relabelling.active:
        uda["relabel"] = _relabel(setup.relabelling)
    if setup.subdomains:
        uda["subdomains"] = nested(setup.subdomains)
    if setup.depth is not None:
        uda["depth"] = _depth(setup.depth)
    return uda


def _depth(depth: DepthMatching) -> dict[str, Any]:
    return {
        "type": "DepthSimilarity",
        "bank": depth.bank,
        "reweight_threshold": depth.reweight,
        "relabel_threshold": depth.relabel,
        "threshold_decay": depth.decay,
        "decay_begin": 10000,
        "decay_end": 40000,
        "decay_interval": 1000,
        **{use: use in depth.uses for use in ("reweight", "replace_source", "guidance")},
        "reweight_mask": depth.mask,
        "guidance_trigger": depth.trigger,
        "build": {"count": depth.count, "sampling": "rcs", "seed": 0},
    }


def nested(options: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Returns dotted options as dicts inside each other."""
    result: dict[str, Any] = {}
    for key, value in options:
        *groups, name = key.split(".")
        inner = result
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[name] = value
    return result


def _relabel(relabelling: Relabelling) -> dict[str, Any]:
    return {
        "type": "TaxonomyRelabeling",
        "taxonomy": "cityscapes19",
        "mapping": [
            {
                "target": pair.target,
                "source": pair.source,
                "box_score": pair.box_score,
                "crop_score": pair.crop_score,
            }
            for pair in relabelling.pairs
        ],
        "collect": relabelling.collect,
        "relabel": relabelling.relabel,
        "detector": {"type": "OwlDetector", "checkpoint": "owlvit"},
        "classifier": {"type": "TransformersClip", "checkpoint": "openai/clip-vit-base-patch32"},
    }


def _optimizer(setup: Setup) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    if setup.lr != {"adamw": 6e-5, "sgd": 2.5e-3}[setup.optimizer]:
        changed["optimizer"] = {"lr": setup.lr}
    if not setup.pmult:
        changed["paramwise_cfg"] = {"custom_keys": {"head": {"lr_mult": 1.0}}}
    return changed
