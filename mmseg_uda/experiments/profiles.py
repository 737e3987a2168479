"""The miniworld profile: a paper's job, scaled to two CPU cores and minutes.

Everything that the profile changes stands in the constants below; ``mini`` applies them to any
resolved config and leaves the rest (method, components, order of phases) as the paper has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from mmseg_uda.cfg_options import TOP_LEVEL
from mmseg_uda.errors import UserError
from mmseg_uda.experiments import (
    profiles_dynalign,
    profiles_networks,
    profiles_srha,
    profiles_vfm,
)
from mmseg_uda.experiments.grid import Base, Experiment, Row
from mmseg_uda.experiments.naming import DATA_SETS, HALF_WIDTH, domain

# --- What is scaled ---

SEEDS = (0,)
SOURCE_ONLY, TARGET_ONLY = "source-only", "target-only"  # reference rows

WORLD = "data/miniworld"
DATA_ROOTS = {
    "GTA": f"{WORLD}/gta",
    "SYNTHIA": f"{WORLD}/synthia",
    "Cityscapes": f"{WORLD}/cityscapes",
    "ACDC": f"{WORLD}/acdc",
    "BDD100K": f"{WORLD}/bdd",
    "Mapillary": f"{WORLD}/mapillary",
    "IDD": f"{WORLD}/idd",
}
MISSING = {"DarkZurich": "Dark Zurich", "CamVid": "CamVid"}
CLIP_FOLDER = "pretrained/miniworld/clip"

# Pixels here per pixel of the paper, at its half and its full resolution alike: of crops, detail
# crops, windows, mask blocks, margins, and, squared, of thresholds on numbers of pixels.
SHARE = Fraction(1, 8)
# Width and height of images at full resolution (2048x1024) and at half; sources have them, too.
FULL_SIZE, HALF_SIZE = (256, 128), (128, 64)

ITERATIONS = 1600  # paper: 40 000
WARM_UP = 30  # 1500
TARGET_START = 100  # the target takes part from here on; in the paper at once
COLLECT = (200, 306)  # CSI's collection phase, paper: (7999, 11999)
RELABEL = (306, ITERATIONS)  # (11999, 40000)
VALIDATE_EVERY = 400
CHECKPOINT_EVERY = 400
LOG_EVERY = 20
PROGRESS_EVERY = 10

BATCH_SIZE = 2  # as published
LEARNING_RATES = {"AdamW": 3e-3, "SGD": 1e-2}  # 6e-5, 2.5e-3
HEAD_LR_MULT = 1.0  # 10

ALPHA = 0.98  # 0.999 (0.99 for plain DACS)
# 0.968. After so few steps networks are less sure: a sixth of the target's pixels reaches that one,
# 0.44 reach this one (MIC at the end, development world, gap 0.55). The share is the weight of all
# pseudo-labels, and all that CSI's new classes are learned from.
PSEUDO_THRESHOLD = 0.8

DETECTOR = {
    "type": "ProposalDetector",
    "classifier": {"type": "OpenClip", "checkpoint": CLIP_FOLDER},
    "proposals": "both",
    "max_proposals": 24,
    "max_inner": 10,  # grass comes as boxes inside large regions
}
CLASSIFIER = {"type": "OpenClip", "checkpoint": CLIP_FOLDER}
# Thresholds stay as published. The miniature CLIP spreads its mass over the synonyms of a class,
# and its boxes overlap: the options that CSI's card recommends, in place of the published ones
# (agnostic, rect, max_prompt).
RELABEL_OPTIONS = {"nms": "class", "paste": "masked", "clip_score": "sum_class"}

# CDDA's bank: crops per source and resolution, drawn once for all hosts that crop alike. It lies
# inside the source's folder, which is made anew when the world changes.
BANK = f"{WORLD}/{{source}}/depth_bank_{{resolution}}"
BANK_CROPS = 400  # 9400 or 24 966
DECAY_BEGIN, DECAY_END, DECAY_INTERVAL = 400, ITERATIONS, 40  # 10 000, 40 000, 1000
# 256. A crop has a 64th of the paper's pixels: with 256 bins two draws of one scene hardly overlap.
# The published threshold, which stays, falls from 0.56 to 0.47. With the true labels of 400 target
# crops of the development world none pass either end with 256 bins, 0.03 and 0.14 with 32, 0.10 and
# 0.56 with 16, 0.51 and 0.93 with 8 (at full resolution). The gate is the method's only warm-up,
# so few should match while pseudo-labels are poor.
DEPTH_BINS = 16

# --- How it is applied ---

# Ends of phases in the papers' learning-rate schedules; mmengine reaches an end one step earlier,
# hence the pairs.
SCHEDULE_ENDS = {
    1500: WARM_UP,
    1501: WARM_UP + 1,
    10000: ITERATIONS // 4,
    40000: ITERATIONS,
    40001: ITERATIONS + 1,
}


def mini(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the miniworld version of a resolved config; the argument is not changed.

    Raises:
        UserError: When the config uses a data set that the miniworld does not have.
    """
    # What is no known key at the top was only a help to write the config.
    config = {k: v for k, v in deepcopy(config).items() if k in TOP_LEVEL}
    _walk(config, _scale_data)
    if profiles_dynalign.is_alignment(config):
        profiles_dynalign.scale_alignment(config)
        return config
    if profiles_srha.is_generalization(config):
        profiles_srha.scale_training(config)
    else:
        _scale_adaptation(config)
    _scale_loaders(config)
    hooks = config.setdefault("default_hooks", {})
    for name, interval in (
        ("checkpoint", CHECKPOINT_EVERY),
        ("logger", LOG_EVERY),
        ("job_files", PROGRESS_EVERY),
    ):
        if name in hooks:
            hooks[name]["interval"] = interval
    return config


def world_groups(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the parts of the miniworld that configs need beyond the default ones."""
    groups = {
        "generalization": any(map(profiles_srha.needs_unseen, configs)),
        "taxonomy": any(map(profiles_dynalign.needs_fine_classes, configs)),
        "transformers": any(map(profiles_vfm.is_plain_vit, configs)),
    }
    return [name for name, needed in groups.items() if needed]


def world_leftovers(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the default weights of the miniworld that taxonomy alignment can do without."""
    needed = any(repr(CLIP_FOLDER) in repr(config) for config in configs)
    alignment = any(map(profiles_dynalign.needs_fine_classes, configs))
    return [Path(CLIP_FOLDER).name] if alignment and not needed else []


def mini_experiment(experiment: Experiment) -> Experiment:
    """Returns the table with the profile's seeds and reference rows at the end.

    Rows whose data set has no miniature are left out. After the table's own references come three
    of its first adapted row: ``source-only`` is that with the target switched off: the same data,
    sampling and steps, so that the difference is what adaptation brings. The published
    source-only configs also distort colours, which helps a lot where domains differ in colour as
    much as here; that baseline is a row of its own.

    Raises:
        UserError: No row is left.
    """
    left = [row for row in experiment.rows if not has_miniature(row.resolved)]
    rows = [row for row in experiment.rows if row not in left]
    stems = {row.stem for row in rows}
    # Tables that are not of the lineage name their jobs, and bring baselines of their own.
    own = bool(experiment.rows[0].name)
    for row in (*experiment.references, *([] if own else _baselines(rows))):
        if row.stem not in stems and has_miniature(row.resolved):
            rows.append(row)
            stems.add(row.stem)
    if not rows:
        raise UserError(
            f"The miniworld has the data of no row of experiment {experiment.id}.",
            fix="Leave --profile mini out.",
        )
    title = experiment.title
    if left:
        labels = ", ".join(f"'{row.label}'" for row in left)
        title += f". Without {labels}: the miniworld has no such data"
    return replace(experiment, seeds=SEEDS, rows=tuple(rows), title=title)


def has_miniature(config: Mapping[str, Any]) -> bool:
    """Whether the miniworld has all data sets of a resolved config."""
    parts = list(config.get("train_dataloader", {}).get("dataset", {}).values())
    parts.append(config.get("val_dataloader", {}).get("dataset"))
    named = [part.get("type") for part in parts if isinstance(part, Mapping)]
    return {*MISSING}.isdisjoint(named)


def _baselines(rows: Sequence[Row]) -> Iterator[Row]:
    """Reference rows of the first one that adapts, none where no row does or runs long enough."""
    data = "train_dataloader.dataset"
    for row in rows:
        config = row.resolved
        uda, parts = config["uda"], config["train_dataloader"]["dataset"]
        if uda["type"] == "SelfTraining" and not uda.get("source_only"):
            break
    else:
        return
    if config["train_cfg"]["max_iters"] <= ITERATIONS:
        return
    alone = {"uda": Base("recipes/default", "supervised"), f"{data}.target": None}
    references = {
        SOURCE_ONLY: {
            "uda": Base("recipes/default", "source_only"),
            f"{data}.target.crop_pseudo_margins": None,
        },
        TARGET_ONLY: {f"{data}.source": _coloured(parts["target"]), **alone},
        "source-only + colour distortion": {f"{data}.source": _coloured(parts["source"]), **alone},
    }
    kept = {k: v for k, v in row.changes.items() if k != "uda" and not k.startswith("uda.")}
    for label, changes in references.items():
        yield Row(label, row.config, {**kept, **changes}, counts=False)


def _coloured(part: Mapping[str, Any]) -> Base:
    """The labelled fragment of a data set with distorted colours, at the same resolution."""
    name = domain(part)
    resolution = "HR" if name.endswith("HR") else ""
    fragment = f"source_{name.removesuffix('HR')}CAug{resolution}"
    return Base(f"domains/{DATA_SETS[part['type']]}", fragment)


def _scale_adaptation(config: dict[str, Any]) -> None:
    train = config["train_cfg"]
    if train["max_iters"] > ITERATIONS:  # else it is a start-up test
        train |= {"max_iters": ITERATIONS, "val_interval": VALIDATE_EVERY}
    _walk(config["param_scheduler"], _scale_schedule)
    config["train_dataloader"]["batch_size"] = BATCH_SIZE
    wrapper = config["optim_wrapper"]
    if profiles_vfm.is_plain_vit(config):
        profiles_vfm.scale_optimizer(wrapper)
        profiles_vfm.scale_network(config["model"], _pixels)
    else:
        wrapper["optimizer"]["lr"] = LEARNING_RATES[wrapper["optimizer"]["type"]]
        keys = wrapper.setdefault("paramwise_cfg", {}).setdefault("custom_keys", {})
        keys["head"] = {"lr_mult": HEAD_LR_MULT}
        profiles_networks.scale_network(config["model"], _pixels)
    _scale_uda(config["uda"])


def _pixels(size: Any) -> Any:
    """A length of the paper in pixels, or several, as the profile's."""
    return round(size * SHARE) if isinstance(size, int) else tuple(map(_pixels, size))


def _walk(value: Any, change: Callable[[dict[str, Any]], None]) -> Any:
    """Applies ``change`` to every dict inside ``value``, outermost first."""
    if isinstance(value, dict):
        change(value)
        for item in value.values():
            _walk(item, change)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _walk(item, change)
    return value


def _scale_data(item: dict[str, Any]) -> None:
    kind = item.get("type")
    if kind in MISSING:
        raise UserError(
            f"The miniworld has no {MISSING[kind]}.", fix="Train this config with --profile paper."
        )
    if kind in DATA_ROOTS:
        item["data_root"] = DATA_ROOTS[kind]
        if item.get("crop_pseudo_margins"):
            item["crop_pseudo_margins"] = [*_pixels(item["crop_pseudo_margins"])]
    elif kind in ("ResizeFields", "Resize") and "scale" in item:
        item["scale"] = FULL_SIZE if item["scale"][0] > HALF_WIDTH else HALF_SIZE
    elif kind in ("CropFields", "RandomCrop"):
        item["crop_size"] = _pixels(item["crop_size"])
    if item.get("sync_crop_size"):
        item["sync_crop_size"] = _pixels(item["sync_crop_size"])
    if item.get("rare_class_sampling"):
        sampling = item["rare_class_sampling"]
        if sampling.get("min_share") is None:  # a share fits images of any size
            sampling["min_pixels"] = round(sampling.get("min_pixels", 3000) * SHARE**2)
    profiles_srha.scale_item(item)
    profiles_vfm.scale_item(item)


def _scale_schedule(scheduler: dict[str, Any]) -> None:
    ends = {k: SCHEDULE_ENDS.get(scheduler[k]) for k in ("begin", "end") if k in scheduler}
    scheduler |= {key: end for key, end in ends.items() if end is not None}
    if scheduler.get("type") == "WarmupLinear":
        scheduler |= profiles_vfm.scale_schedule(scheduler, WARM_UP, ITERATIONS)


def _scale_loaders(config: dict[str, Any]) -> None:
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader = config.get(name)
        if loader:
            # A worker would take the core from the training beside it.
            loader |= {"num_workers": 0, "persistent_workers": False}
            loader.pop("prefetch_factor", None)


def _scale_uda(uda: dict[str, Any]) -> None:
    if uda["type"] in ("Supervised", "Retraining"):
        if uda.get("ema") is not None:
            profiles_vfm.scale_average(uda["ema"], ITERATIONS / 40_000)
        return
    uda |= {"alpha": ALPHA, "pseudo_threshold": PSEUDO_THRESHOLD, "target_start": TARGET_START}
    for rows in ("pseudo_weight_ignore_top", "pseudo_weight_ignore_bottom"):
        if uda.get(rows):
            uda[rows] = _pixels(uda[rows])
    if uda.get("masking"):
        uda["masking"]["block_size"] = _pixels(uda["masking"]["block_size"])
    if uda.get("distillation"):
        profiles_vfm.scale_distillation(uda["distillation"])
    if uda.get("depth"):
        depth = uda["depth"]
        source, _, host = Path(depth["bank"]).name.partition("_")  # gta_mic, synthia_hrda, ...
        resolution = "half" if host == "daformer" else "full"
        depth |= {
            "bank": BANK.format(source=source, resolution=resolution),
            "decay_begin": DECAY_BEGIN,
            "decay_end": DECAY_END,
            "decay_interval": DECAY_INTERVAL,
            "build": {**(depth.get("build") or {}), "count": BANK_CROPS, "workers": 0},
            "bins": DEPTH_BINS,
        }
    if uda.get("relabel"):
        uda["relabel"] |= {
            "collect": COLLECT,
            "relabel": RELABEL,
            "detector": deepcopy(DETECTOR),
            "classifier": deepcopy(CLASSIFIER),
            **RELABEL_OPTIONS,
        }
