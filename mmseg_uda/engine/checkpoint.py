"""Training checkpoints: which to resume from, and loading one completely or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from mmseg_uda.errors import UserError
from mmseg_uda.models.weights import is_published, load_segmentor_weights, local_folder, meta_of
from mmseg_uda.models.weights.finite import require_finite
from mmseg_uda.released import read_json

FORMAT_VERSION = 1


def step_of(path: Path) -> int:
    """N of a checkpoint ``iter_N.pth``, -1 for another file."""
    match = re.fullmatch(r"iter_(\d+)\.pth", path.name)
    return int(match[1]) if match else -1


def newest_first(folder: Path) -> list[Path]:
    """Checkpoints ``iter_N.pth`` of a work directory, the latest iteration first."""
    found = [path for path in folder.glob("iter_*.pth") if step_of(path) >= 0]
    return sorted(found, key=step_of, reverse=True)


def newest_checkpoint(run: str | Path) -> Path:
    """The last checkpoint of a training's folder, also of one that mmcv 1.x wrote.

    Raises:
        UserError: There is none.
    """
    for path in newest_first(Path(run)):
        if step_of(path) > 0:
            return path
    for name in ("latest.pth", "best*.pth"):  # as published, and as CDDA's test.sh takes
        others = sorted(Path(run).glob(name), key=lambda path: path.stat().st_mtime)
        if others:
            return others[-1]
    raise UserError(f"{run} holds no checkpoint iter_N.pth.", fix="Train it first, or let it end.")


def recorded_config(run: Path) -> Path:
    """The config that a training left in its folder; a released one may be JSON.

    Raises:
        UserError: There is none, or several trainings have left theirs.
    """
    found = sorted(run.glob("*.py")) or [p for p in sorted(run.glob("*.json")) if _is_config(p)]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(
            f"{run} is no folder of one training: of configs (*.py) it holds {names}.",
            fix="Give the config and the checkpoint.",
        )
    return found[0]


def model_in(place: str | Path) -> tuple[Path, Path]:
    """Config and checkpoint of a published model, whose folder is both, or of a training's folder.

    Raises:
        UserError: A folder is neither.
    """
    if is_published(place):
        folder = local_folder(place)
        return folder, folder
    return recorded_config(Path(place)), newest_checkpoint(place)


def run_folder(checkpoint: str | Path) -> str | None:
    """The folder of the training that wrote a checkpoint there; None for another file."""
    folder = Path(checkpoint).parent
    return str(folder) if (folder / "last_checkpoint").is_file() else None


def _is_config(path: Path) -> bool:
    try:
        return bool(read_json(path))
    except UserError:  # a log, a list of results
        return False


def checkpoint_bytes(model: nn.Module, optim_wrapper: Any) -> int:
    """Size of a training's checkpoint: its tensors, without names and other small things.

    Args:
        model: The trainer, which may be wrapped for several processes.
        optim_wrapper: Its optimizer wrapper.
    """
    found: dict[int, int] = {}

    def add(value: Any) -> None:
        if isinstance(value, Tensor):
            found[value.data_ptr()] = value.numel() * value.element_size()
        elif isinstance(value, Mapping):
            for item in value.values():
                add(item)

    add((model.module if is_model_wrapper(model) else model).state_dict())
    add(optim_wrapper.state_dict())
    return sum(found.values())


def damaged_part(checkpoint: Mapping[str, Any]) -> str | None:
    """Names a part of a training's state that is of another kind than trainings write.

    Args:
        checkpoint: As ``read_checkpoint`` returns.
    """
    meta, weights = meta_of(checkpoint), checkpoint.get("state_dict")
    if not isinstance(weights, Mapping) or not all(isinstance(v, Tensor) for v in weights.values()):
        return "state_dict"
    if not isinstance(meta.get("format_version", 0), int):
        return "meta.format_version"
    optimizer = checkpoint.get("optimizer", {"state": {}, "param_groups": []})
    if not isinstance(optimizer, Mapping):
        return "optimizer"
    for one in (optimizer,) if "param_groups" in optimizer else optimizer.values():
        groups = one.get("param_groups") if isinstance(one, Mapping) else None
        if not isinstance(groups, list) or not all(isinstance(g, Mapping) for g in groups):
            return "optimizer.param_groups"
        if not isinstance(one.get("state"), Mapping):
            return "optimizer.state"
    hub = checkpoint.get("message_hub") or {}
    if not isinstance(hub, Mapping) or not isinstance(hub.get("runtime_info") or {}, Mapping):
        return "message_hub"
    return None


def load_trainer_state(
    trainer: nn.Module, checkpoint: dict[str, Any], source: str | Path, whole: bool = True
) -> None:
    """Loads a checkpoint into a trainer.

    A checkpoint of the same trainer (student, teacher, buffers) must cover it exactly. Any
    other checkpoint, such as one of a segmentor or of a reference repository, gives its
    weights to the student.

    Args:
        trainer: Model of the runner.
        checkpoint: As ``read_checkpoint`` returns.
        source: Where it came from, for messages.
        whole: Refuse the checkpoint of another trainer; else it gives its student.

    Raises:
        UserError: If the checkpoint belongs to another trainer configuration or network, or
            holds NaN or infinity.
    """
    state = checkpoint.get("state_dict", checkpoint)
    version = meta_of(checkpoint).get("format_version") if "state_dict" in checkpoint else None
    if version is None:
        student = getattr(trainer, "model", trainer)
        load_segmentor_weights(student, checkpoint, source=source, adapt=False)
        return
    part = damaged_part(checkpoint)
    if part is not None:
        raise UserError(f"{source} is damaged: its {part}.", fix="Use another checkpoint.")
    if version > FORMAT_VERSION:
        raise UserError(
            f"{source} was written by a newer version (format {version}).", fix="Update mmseg_uda."
        )
    own = trainer.state_dict()
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [k for k in own.keys() & state.keys() if own[k].shape != state[k].shape]
    if (missing or unexpected or shapes) and not whole:
        load_segmentor_weights(getattr(trainer, "model", trainer), checkpoint)
        return
    if missing or unexpected or shapes:
        raise UserError(
            f"{source} does not fit the config: {len(missing)} entries are missing"
            f"{_example(missing)}, {len(unexpected)} are unknown{_example(unexpected)}, "
            f"{len(shapes)} have another shape{_example(sorted(shapes))}.",
            fix="Resume with the config that wrote it, or start in a new work directory and give "
            "it as load_from.",
        )
    for one, other in in_common(own):
        if not torch.equal(state[one], state[other]):
            raise UserError(
                f"{source}: {one} and {other} differ, and are one frozen tensor in the config.",
                fix="Resume with the config that wrote it.",
            )
    require_finite(state, source)
    trainer.load_state_dict(state, strict=False)


def in_common(state: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """Names under which one tensor stands twice: frozen weights of student and teacher."""
    first: dict[tuple, str] = {}
    pairs = []
    for name, value in state.items():
        if value.numel() and value.device.type != "meta":
            place = (value.data_ptr(), value.shape, value.stride())
            if first.setdefault(place, name) != name:
                pairs.append((first[place], name))
    return pairs


def sync_folder(folder: Path) -> None:
    """Flushes a folder's entries to disk, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _example(names: list[str]) -> str:
    return f" (such as {names[0]})" if names else ""
