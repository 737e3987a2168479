"""CDDA's banks of source crops: drawn once, before the jobs that share them start."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmseg_uda.config_files import ROOT
from mmseg_uda.data_root import resolve_data_root
from mmseg_uda.errors import UserError
from mmseg_uda.experiments.jobs import State

if TYPE_CHECKING:
    from mmseg_uda.experiments.plan import PlannedJob

BUILD = (sys.executable, str(ROOT / "tools" / "build_depth_bank.py"))
META = "meta.json"  # the file without which a folder is no bank of ours
PUBLISHED = "*_distribution.pth"


def missing_bank(config: Mapping[str, Any]) -> Path | None:
    """The folder of the bank that a training with this config would have to build first."""
    depth = (config.get("uda") or {}).get("depth") or {}
    if not depth.get("bank") or depth.get("build") is None:
        return None
    path = Path(resolve_data_root(str(depth["bank"])))
    there = path.suffix == ".pth" or (path / META).is_file() or any(path.glob(PUBLISHED))
    return None if there else path


def build_missing_banks(
    planned: Sequence[PlannedJob], cfg_options: Sequence[str] = (), build: Sequence[str] = BUILD
) -> None:
    """Draws the banks that the jobs need, each once, with a progress bar.

    A training would do it by itself; then the bar would be in its log, and every other job that
    needs the bank would hold its GPU while it waits.

    Raises:
        UserError: A bank cannot be drawn; the reason is printed before.
    """
    wanted: dict[Path, PlannedJob] = {}
    for one in planned:
        path = missing_bank(one.effective)
        if path is not None and one.folder.status().state is not State.DONE:
            wanted.setdefault(path, one)
    for path, one in wanted.items():
        line = [*build, "--config", str(one.config_path)]
        if cfg_options:
            line += ["--cfg-options", *cfg_options]
        if subprocess.run(line, check=False).returncode:
            raise UserError(
                f"The bank of source crops in {path} could not be drawn; the reason is above.",
                fix=f"When it is mended: {shlex.join(line[1:])}",
            )
