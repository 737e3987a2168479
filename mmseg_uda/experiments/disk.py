"""What the jobs will need on the disk, told before they start."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError, size_text
from mmseg_uda.experiments import profiles, profiles_dynalign
from mmseg_uda.experiments.jobs import State
from mmseg_uda.experiments.naming import BASELINES
from mmseg_uda.experiments.plan import PlannedJob
from mmseg_uda.wording import number_of

# Millions of parameters, counted from the networks.
ENCODERS = {
    ("MiT", "b0"): 3.32,
    ("MiT", "b1"): 13.15,
    ("MiT", "b2"): 24.20,
    ("MiT", "b3"): 44.07,
    ("MiT", "b4"): 60.84,
    ("MiT", "b5"): 81.44,
    ("ResNetV1c", 50): 23.53,
    ("ResNetV1c", 101): 42.52,
    ("ResNeXt", 50): 22.98,
    ("ResNeXt", 101): 42.13,
    ("ResNeSt", 50): 25.43,
    ("ResNeSt", 101): 46.23,
    ("ResNeSt", 200): 68.15,
    ("NanoBackbone", None): 0.42,
}
DECODERS = {
    "DLV2Head": 1.4,
    "DAHead": 24.0,
    "ISAHead": 11.8,
    "DepthwiseSeparableASPPHead": 17.7,
    "UPerHead": 29.6,
    "NanoBackbone": 0.2,
    "TorchMask2FormerHead": 20.5,
}
# Networks in stages: encoder, and DeepLabV3+ with its auxiliary head.
STAGED = {
    "resnet50": (23.51, 21.57),
    "resnet101": (42.50, 21.57),
    "mobilenet_v2": (2.22, 12.62),
    "shufflenet_v2_x1_0": (1.25, 11.38),
}
OTHER_DECODER = 4.2
LOGS = 20e6
# Of an alignment: 200 regions with three features of 768 half-precision numbers, and two PNGs.
ALIGNED_BYTES = 1.5e6
ALIGNED_IMAGES = {
    ("Mapillary", "train"): 18000,
    ("Mapillary", "val"): 2000,
    ("IDD", "train"): 6993,
    ("IDD", "val"): 981,
}
VALIDATION_IMAGES = 500  # Cityscapes'; the data set is not opened for an estimate
PREDICTION_BYTES = 0.1e6  # a 2048×1024 palette PNG
PANELS = 25  # of a step with every component, per image
PANEL_BYTES = {"png": 1.5, "jpg": 0.2}  # per pixel
ALMOST_FULL = 0.9


@dataclass(frozen=True)
class Estimate:
    """What one job needs.

    Attributes:
        checkpoint: Bytes of one checkpoint; None if neither known nor measured.
        kept: How many of them stay.
        best: Bytes of the best checkpoint, 0 if none is kept.
        pictures: Bytes of debug pictures and predictions.
        present: Bytes of checkpoints that are there already.
        measured: Whether ``checkpoint`` is the size of a file.
    """

    checkpoint: float | None
    kept: int
    best: float
    pictures: float
    present: float
    measured: bool

    @property
    def to_come(self) -> float:
        """Bytes that the job will still add."""
        checkpoints = self.kept * (self.checkpoint or 0) + self.best
        return max(0.0, checkpoints - self.present) + self.pictures + LOGS

    def text(self) -> str:
        """Returns one line for the user."""
        if self.checkpoint is None:
            return "Disk: checkpoints of unknown size"
        each = f"{number_of(self.kept, 'checkpoint')} of {size_text(self.checkpoint)}"
        return f"Disk: about {size_text(self.to_come)} ({each})"


@dataclass(frozen=True)
class Demand:
    """What all jobs need, and what there is.

    Attributes:
        jobs: Number of jobs that are to run.
        needed: Bytes that they add, at the worst moment; without jobs of unknown size.
        free: Bytes free in the work directory.
        unknown: Jobs whose checkpoints are of unknown size.
        largest: The largest checkpoint, in bytes.
        kept: Checkpoints kept per job (the most of them).
    """

    jobs: int
    needed: float
    free: float
    unknown: int
    largest: float
    kept: int

    def text(self) -> str:
        """Returns one line for the user."""
        unknown = f" and {number_of(self.unknown, 'job')} of unknown size" if self.unknown else ""
        each = f"{number_of(self.kept, 'checkpoint')} each, up to {size_text(self.largest)}"
        return (
            f"Disk: about {size_text(self.needed)} for {number_of(self.jobs, 'job')} ({each})"
            f"{unknown}; {size_text(self.free)} are free"
        )


def demand(planned: Sequence[PlannedJob], folder: Path, parallel: int, keep: int | None) -> Demand:
    """Estimates what the jobs that are not done will add.

    Args:
        planned: The jobs.
        folder: Where their folders are, or will be.
        parallel: Jobs that train at the same time; each writes one checkpoint more than it keeps.
        keep: Checkpoints to keep per job, in place of what the configs say.
    """
    estimates = [
        estimate(one, planned, keep) for one in planned if one.folder.status().state != State.DONE
    ]
    largest = max((e.checkpoint or 0.0 for e in estimates), default=0.0)
    needed = sum(e.to_come for e in estimates) + min(parallel, len(estimates)) * largest
    return Demand(
        jobs=len(estimates),
        needed=needed,
        free=shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free,
        unknown=sum(e.checkpoint is None for e in estimates),
        largest=largest,
        kept=max((e.kept for e in estimates), default=0),
    )


def require_space(need: Demand, folder: Path) -> str:
    """Checks that the disk is large enough; returns a warning if it is so only just.

    Raises:
        UserError: The jobs need more than is free.
    """
    fix = "keep fewer checkpoints (--keep 1), train fewer jobs (--rows, --seeds), free space in "
    fix += f"{folder}, or give a --work-dir on another disk"
    if need.needed > need.free:
        raise UserError(
            f"{need.text()}.", fix=f"{fix.capitalize()}; --ignore-disk-space starts all the same."
        )
    if need.needed > ALMOST_FULL * need.free:
        return f"The disk will be almost full: {fix}."
    return ""


def estimate(
    one: PlannedJob, planned: Sequence[PlannedJob] = (), keep: int | None = None
) -> Estimate:
    """Estimates one job from files that it or another seed of its row has written, or its config.

    Args:
        one: The job.
        planned: Jobs to look at for a measured size.
        keep: Checkpoints to keep, in place of what the config says.
    """
    found = expected(one.effective, keep)
    if not one.trains:
        return found
    siblings = [one, *(p for p in planned if p.job.row_number == one.job.row_number)]
    sizes = [path.stat().st_size for p in siblings for path in p.folder.path.glob("iter_*.pth")]
    present = sum(path.stat().st_size for path in one.folder.path.glob("*iter_*.pth"))
    if not sizes:
        return replace(found, present=present)
    share = weight_copies(one.effective) / checkpoint_copies(one.effective)
    best = max(sizes) * share if _keeps_best(one.effective) else 0.0
    return replace(found, checkpoint=max(sizes), best=best, present=present, measured=True)


def expected(config: Mapping[str, Any], keep: int | None = None) -> Estimate:
    """Estimates one job from its config alone.

    Args:
        config: Resolved config of a training or an alignment.
        keep: Checkpoints to keep, in place of what the config says.
    """
    if "alignment" in config:
        return Estimate(0.0, 0, 0.0, alignment_bytes(config), 0.0, False)
    hook = (config.get("default_hooks") or {}).get("checkpoint") or {}
    weights = network_bytes(config)
    steps = (config.get("train_cfg") or {}).get("max_iters", 0)
    interval = max(1, hook.get("interval") or 1)
    written = steps // interval + (hook.get("save_last", True) and steps % interval > 0)
    kept = hook.get("max_keep_ckpts", -1) if keep is None else keep
    return Estimate(
        checkpoint=None if weights is None else weights * checkpoint_copies(config),
        kept=min(kept, written) if kept > 0 else written,
        best=(weights or 0.0) * weight_copies(config) if _keeps_best(config) else 0.0,
        pictures=picture_bytes(config),
        present=0.0,
        measured=False,
    )


def _keeps_best(config: Mapping[str, Any]) -> bool:
    return bool(((config.get("default_hooks") or {}).get("checkpoint") or {}).get("save_best"))


def alignment_bytes(config: Mapping[str, Any]) -> float:
    """Returns about how much regions, features and labels of an alignment take."""
    total = 0.0
    for data in filter(None, (config.get("data") or {}).values()):
        key = (data.get("type"), data.get("split", "train"))
        images, each = ALIGNED_IMAGES.get(key, VALIDATION_IMAGES), ALIGNED_BYTES
        if data.get("data_root") == profiles.DATA_ROOTS.get(data.get("type"), ""):
            images = profiles_dynalign.ALIGNED_IMAGES.get(key, images)
            each = profiles_dynalign.ALIGNED_BYTES
        total += min(config.get("limit") or images, images) * each
    return total


def picture_bytes(config: Mapping[str, Any]) -> float:
    """Returns about how much the pictures of a training take that are switched on."""
    hooks = config.get("default_hooks") or {}
    predictions, panels = hooks.get("visualization") or {}, hooks.get("debug_panels") or {}
    total = 0.0
    if predictions.get("interval"):
        total += VALIDATION_IMAGES / predictions["interval"] * PREDICTION_BYTES
    if panels.get("interval"):
        steps = (config.get("train_cfg") or {}).get("max_iters", 0) // panels["interval"]
        pixels = panels.get("images", 2) * PANELS * panels.get("tile", 320) ** 2
        total += steps * pixels * PANEL_BYTES.get(panels.get("format", "png"), 1.5)
    return total


def network_bytes(config: Mapping[str, Any]) -> float | None:
    """Returns the size of the segmentor's weights in bytes, None for an unknown encoder."""
    model = config.get("model") or {}
    backbone, head = model.get("backbone") or {}, model.get("decode_head") or {}
    encoder, kind = encoder_bytes(backbone), str(backbone.get("type"))
    if encoder is None:
        return None
    if backbone.get("arch") in STAGED:
        _, decoder = STAGED[backbone["arch"]]
        if head.get("type") != "DeepLabV3PlusHead":
            decoder = DECODERS.get(str(head.get("type")), OTHER_DECODER)
        # weights between layers grow with the square of the width; narrow ones are about as small
        return (encoder + 4e6 * decoder) * backbone.get("width", 1.0) ** 2
    decoder = DECODERS.get(kind) or DECODERS.get(
        str(head.get("single_scale_head") or head.get("type")), OTHER_DECODER
    )
    return encoder + 4e6 * decoder


def encoder_bytes(backbone: Mapping[str, Any]) -> float | None:
    """Returns the size of an encoder's weights as published, in bytes; None for an unknown one."""
    kind = str(backbone.get("type"))
    if kind == "StagedBackbone" and backbone.get("arch") in STAGED:
        return 4e6 * STAGED[backbone["arch"]][0]
    millions = ENCODERS.get((kind, backbone.get("variant", backbone.get("depth"))))
    return None if millions is None else 4e6 * millions


def weight_copies(config: Mapping[str, Any]) -> int:
    """Returns how many networks a checkpoint holds: student, teacher or average, MIC's own."""
    uda = config.get("uda") or {}
    masking = uda.get("masking") or {}
    own = any(masking.get(key, "same") != "same" for key in ("alpha", "pseudo_threshold"))
    if uda.get("type") in BASELINES:  # without a teacher that masking could share
        return 1 + bool(masking)
    if uda.get("type") != "SelfTraining":
        return 1 + (uda.get("ema") is not None)
    return 1 + (not uda.get("source_only", False)) + own


def checkpoint_copies(config: Mapping[str, Any]) -> int:
    """Returns a checkpoint's size in networks, the optimizer's moments included."""
    optimizer = ((config.get("optim_wrapper") or {}).get("optimizer")) or {}
    moments = 2 if str(optimizer.get("type", "")).startswith("Adam") else 1
    return weight_copies(config) + moments
