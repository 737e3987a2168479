"""Folders that a program writes to: found or made before hours of work rely on them."""

from __future__ import annotations

import getpass
import os
import tempfile
from pathlib import Path

from mmseg_uda.errors import DISK_FULL, UserError, no_space
from mmseg_uda.files import temporary_prefix
from mmseg_uda.system_errors import explain

TRIAL_BYTES = 1 << 20
"""About what a run writes before its first checkpoint: config, log, scalars."""


def require_folder(path: str | Path) -> Path:
    """Makes a folder, and tries to write a file there.

    Returns:
        The folder.

    Raises:
        UserError: It cannot be made or written to, or its disk is full.
    """
    folder = Path(path).absolute()
    for place in (folder, *folder.parents):
        if os.path.lexists(place) and not place.is_dir():
            below = "" if place == folder else f"{folder} cannot be made: "
            raise UserError(
                f"{below}{place} is no folder.", fix="Give another place, or move it away."
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=temporary_prefix("trial")) as trial:
            trial.write(bytes(TRIAL_BYTES))
            trial.flush()
            os.fsync(trial.fileno())
    except OSError as error:
        error.filename = str(folder)
        known = explain(error)
        if error.errno in DISK_FULL:
            known = no_space(folder, TRIAL_BYTES)
        if known is None:
            raise
        raise known from error
    return folder


def settle_home() -> None:
    """Gives libraries a user's name and a home where the system knows none.

    Containers run under user ids that nobody has registered, and batch systems without a home;
    caches of compilers and hubs want both.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())
    if not os.path.isdir(os.path.expanduser("~")):
        home = Path(tempfile.gettempdir(), f"mmseg_uda-{os.getuid()}")
        home.mkdir(mode=0o700, exist_ok=True)
        if home.stat().st_uid != os.getuid():
            home = Path(tempfile.mkdtemp(prefix="mmseg_uda-"))
        os.environ["HOME"] = str(home)
