"""Where a training starts: at the checkpoint of its folder that it resumes, or anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size

from mmseg_uda.engine.checkpoint import damaged_part, newest_first
from mmseg_uda.engine.config_changes import PROCESSES, decide, find_changes
from mmseg_uda.engine.deployed import stored_config
from mmseg_uda.engine.processes import from_main_process
from mmseg_uda.errors import UserError
from mmseg_uda.files import remove_leftovers
from mmseg_uda.locks import training_in
from mmseg_uda.models.weights import meta_of, read_checkpoint
from mmseg_uda.models.weights.finite import require_finite, tensors_in
from mmseg_uda.regular_files import require_file

LAST = "last_checkpoint"
BEST = "best_*_iter_*.pth"
PARTIAL = ".pth.partial"
# Temporary files of earlier versions, which do not say whose they are.
EARLIER_TEMPORARIES = tuple(
    f".{name}-????????*" for name in ("progress", "evaluations", "loggers", LAST)
)


@dataclass(frozen=True)
class Start:
    """Where a training starts.

    Attributes:
        checkpoint: File of the state that it resumes; None: it starts at step 0.
        seed: Seed of the resumed training.
        allow_changes: Whether it may be another experiment than the checkpoint's.
        notes: What to warn of.
    """

    checkpoint: str | None = None
    seed: int | None = None
    allow_changes: bool = False
    notes: tuple[str, ...] = ()


@contextmanager
def begin_training(cfg: Config, allow_changes: bool = False) -> Iterator[Start]:
    """Holds the work directory of a training while the block runs, and says where it starts.

    Before the decision nothing in the folder is touched, so that a refused training leaves all
    as it was. To be called in all processes of the training, when they are connected.

    Args:
        cfg: Wrapped config (see ``wrap_model``) with ``work_dir`` and ``resume``.
        allow_changes: Resume even if the config has become another experiment's.

    Raises:
        UserError: Another process trains there, the folder holds another training, or the
            checkpoint cannot be resumed with this config.
    """
    with ExitStack() as stack:
        from_main_process(lambda: stack.enter_context(training_in(Path(cfg.work_dir))))
        start = from_main_process(lambda: find_start(cfg, get_world_size(), allow_changes))
        from_main_process(lambda: _clean({Path(cfg.work_dir), checkpoint_folder(cfg)}))
        yield start


def find_start(cfg: Config, processes: int, allow_changes: bool) -> Start:
    """Decides where a training starts, by the files of its folder.

    With ``resume`` it goes on from the newest checkpoint that can be read; without it, the folder
    must hold none. ``load_from`` together with ``resume`` names a state to go on from where the
    folder holds none; one of another experiment gives its weights alone.

    Raises:
        UserError: See :func:`begin_training`; or something else has the name of a checkpoint.
    """
    folder = checkpoint_folder(cfg)
    found = newest_first(folder)
    for path in found:
        require_file(path, f"{path} is gone.", "Move it away: checkpoints have such names.")
    if not cfg.get("resume"):
        kept = [*found, *folder.glob(BEST)]
        if kept:
            raise UserError(
                f"{folder} holds checkpoints of an earlier training, such as {kept[0].name}.",
                fix="Add --resume to go on with it. To start anew, give another --work-dir, or "
                "move or delete them (iter_*.pth, best_*.pth).",
            )
        return Start()
    problems = []
    for path in found:
        try:
            state = read_state(path)
        except UserError as error:
            problems.append(str(error))
            continue
        told = compare(cfg, state, path, processes, allow_changes)
        told += check_length(cfg, state["meta"]["iter"], path)
        passed = [f"{problem}\nThe checkpoint before it is resumed." for problem in problems]
        return Start(str(path), state["meta"].get("seed"), allow_changes, (*passed, *told))
    if found:
        raise UserError(
            f"No checkpoint in {folder} can be resumed:\n" + "\n".join(problems),
            fix="Delete the broken files to start again from the beginning.",
        )
    if cfg.get("load_from"):
        return _start_elsewhere(cfg, processes, allow_changes)
    if (folder / LAST).is_file():
        named = (folder / LAST).read_text(errors="replace").strip()
        return Start(
            notes=(
                f"{folder} holds no checkpoint; its {LAST} names {named}. The training starts at "
                "step 0. To go on from that file, put it into the folder.",
            )
        )
    return Start()


def _start_elsewhere(cfg: Config, processes: int, allow_changes: bool) -> Start:
    """Where a training with ``resume`` and ``load_from`` starts in an empty folder."""
    path = Path(cfg.load_from)
    try:
        state = read_state(path)
        told = compare(cfg, state, path, processes, allow_changes)
        told += check_length(cfg, state["meta"]["iter"], path)
    except UserError as error:
        note = (
            f"load_from={path} gives its weights to a training that starts at step 0; it is not "
            f"resumed: {error.message}"
        )
        return Start(notes=(note,))
    return Start(str(path), state["meta"].get("seed"), allow_changes, tuple(told))


def checkpoint_folder(cfg: Config) -> Path:
    """Folder of a training's checkpoints: the work directory unless the hook has an ``out_dir``."""
    work_dir = Path(cfg.work_dir).absolute()
    hook = (cfg.get("default_hooks") or {}).get("checkpoint") or {}
    out_dir = hook.get("out_dir")
    if out_dir is None or Path(out_dir).absolute() == work_dir:
        return work_dir
    return Path(out_dir).absolute() / work_dir.name  # as mmengine's hook joins them


def read_state(path: Path) -> dict[str, Any]:
    """Reads a checkpoint from which a training can go on.

    Raises:
        UserError: It cannot be read, holds weights alone, or numbers that are not finite.
    """
    state = read_checkpoint(path)
    step = meta_of(state).get("iter")
    missing = [name for name in ("state_dict", "optimizer") if name not in state]
    if not isinstance(step, int) or step < 0 or missing:
        lacks = ", ".join(missing) or "number of its step"
        raise UserError(
            f"{path} is not the state of a training: it has no {lacks}.",
            fix="Start anew in another --work-dir; load_from takes the weights.",
        )
    part = damaged_part(state)
    if part is not None:
        raise UserError(f"{path} is damaged: its {part}.", fix="Use the checkpoint before it.")
    require_finite(tensors_in(state), path)
    return state


def compare(
    cfg: Config, state: Mapping[str, Any], path: Path, processes: int, allow_changes: bool
) -> list[str]:
    """Compares a checkpoint's config with the present one.

    Returns:
        What to tell the user.

    Raises:
        UserError: The training cannot go on with these changes, or they have to be allowed.
    """
    try:
        stored = stored_config(state, path)
    except UserError as error:
        return [f"Changes of the config since {path} cannot be told: {error.message}"]
    if stored is None:
        return [f"Changes of the config since {path} cannot be told: it holds no config."]
    then = {**stored.to_dict(), PROCESSES: state["meta"].get(PROCESSES)}
    now = {**cfg.to_dict(), PROCESSES: processes}
    told = decide(find_changes(then, now), str(path), allow_changes)
    return [told] if told else []


def check_length(cfg: Config, step: int, path: Path) -> list[str]:
    """Compares a checkpoint's step with the length of the training.

    Returns:
        What to tell the user.

    Raises:
        UserError: It is beyond the end.
    """
    last = (cfg.get("train_cfg") or {}).get("max_iters")
    if last is None or step < last:
        return []
    if step == last:
        return [f"Nothing is left to train: {path} is the last step (train_cfg.max_iters={last})."]
    raise UserError(
        f"{path} is of step {step}, beyond the end of this training (train_cfg.max_iters={last}).",
        fix="Raise max_iters, or give another --work-dir for a training of this length.",
    )


def _clean(folders: set[Path]) -> None:
    """Removes what killed trainings have left half-written; nobody else trains here."""
    for folder in folders:
        remove_leftovers(folder)
        for pattern in (f"*{PARTIAL}", *EARLIER_TEMPORARIES):
            for path in folder.glob(pattern):
                path.unlink()
