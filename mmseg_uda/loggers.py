"""The switch for experiment trackers: ``--log tensorboard wandb mlflow``. All are off by default.

A tracker is one of mmengine's visualizer backends; switching it on adds the backend to
``cfg.visualizer.vis_backends``, where a config may also name it itself. The local backend, which
writes ``scalars.json``, is always on.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.files import read_json, write_json

RUNS_FILE = "loggers.json"
PROJECT = "mmseg_uda"


@dataclass(frozen=True)
class Logger:
    """A tracker.

    Attributes:
        backend: Registered name of its visualizer backend.
        module: What must be importable.
        install: The command that installs it.
    """

    backend: str
    module: str
    install: str


LOGGERS = {
    "tensorboard": Logger("TensorboardVisBackend", "tensorboard", "pip install tensorboard"),
    "wandb": Logger("WandbBackend", "wandb", "pip install wandb"),
    "mlflow": Logger("MlflowBackend", "mlflow", "pip install mlflow"),
}


def add_log_option(parser: argparse._ActionsContainer) -> None:
    """Adds ``--log``."""
    parser.add_argument(
        "--log",
        nargs="+",
        choices=list(LOGGERS),
        default=[],
        metavar="TRACKER",
        help=f"also log to one or more of {', '.join(LOGGERS)} (default: none)",
    )


def require_loggers(names: Sequence[str]) -> None:
    """Checks that trackers are installed, without importing them.

    Raises:
        UserError: For the first that is not, with the command that installs it.
    """
    for name in names:
        if importlib.util.find_spec(LOGGERS[name].module) is None:
            raise UserError(
                f"--log {name}: the package '{LOGGERS[name].module}' is not installed.",
                fix=f"{LOGGERS[name].install} (or pip install -e '.[{name}]'), or leave it out.",
            )


def add_loggers(cfg: Any, names: Sequence[str]) -> None:
    """Switches trackers on in a config, in place.

    A run is identified by its work directory. A resumed training continues its runs there
    (``loggers.json`` holds their ids); one that starts anew gets new ones.

    Args:
        cfg: Config with ``work_dir``; ``resume`` tells whether the training continues.
        names: Of :data:`LOGGERS`.

    Raises:
        UserError: If one is not installed.
    """
    require_loggers(names)
    visualizer = cfg.setdefault("visualizer", {"type": "SegLocalVisualizer"})
    backends = list(visualizer.get("vis_backends") or [{"type": "LocalVisBackend"}])
    chosen = {backend["type"] for backend in backends}
    for name in names:
        if LOGGERS[name].backend not in chosen:
            backends.append({"type": LOGGERS[name].backend, **_options(cfg, name)})
    visualizer["vis_backends"] = backends


def _options(cfg: Any, name: str) -> dict[str, Any]:
    work_dir = Path(cfg["work_dir"]).resolve()
    # Not in the folder of one attempt, so that a resumed run goes on in the same curves.
    folder = work_dir if name == "wandb" else work_dir / name  # wandb makes its own folder in it
    if name == "tensorboard":
        return {"save_dir": str(folder)}
    return {
        "save_dir": str(folder),
        "run_id": run_id(work_dir, name, bool(cfg.get("resume"))),
        "run_name": work_dir.name,
        "group": work_dir.parent.name,
    }


def run_id(work_dir: Path, name: str, resume: bool) -> str:
    """The id under which a tracker knows the training in ``work_dir``; '' beside the main process.

    Args:
        work_dir: The training's folder; the ids are kept in its ``loggers.json``.
        name: Of the tracker.
        resume: Whether an earlier id is taken again.
    """
    if (os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or "0") != "0":
        return ""
    path = work_dir / RUNS_FILE
    known = read_json(path)
    ids = known if isinstance(known, dict) else {}
    if name not in ids or not resume:
        ids[name] = uuid.uuid4().hex
        write_json(path, ids)
    return ids[name]
