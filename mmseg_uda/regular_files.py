"""Reading files that may be none: opening a pipe waits for ever, a device has no end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mmseg_uda.errors import UserError

MISSING = "is missing"
# What stands in the place of a file.
NO_FILES = {
    stat.S_IFDIR: "is a folder",
    stat.S_IFIFO: "is a named pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
}


def why_no_file(path: str | Path) -> str | None:
    """Returns why there is no file to read ('is missing', 'is a folder', ...); None if there is."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "is a link to nothing" if os.path.islink(path) else MISSING
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    if stat.S_ISREG(mode):
        return None
    return f"{NO_FILES.get(stat.S_IFMT(mode), 'is something else')}, not a file"


def require_file(path: str | Path, missing: str, fix: str | None = None) -> None:
    """Checks that there is a file to read.

    Args:
        path: The file.
        missing: What to say where there is nothing of that name.
        fix: What to do.

    Raises:
        UserError: There is none, or something else: a folder, a pipe, a device.
    """
    fault = why_no_file(path)
    if fault is not None:
        raise UserError(missing if fault == MISSING else f"{path} {fault}.", fix=fix)


def read_bytes(path: str | Path, fix: str | None = None) -> bytes:
    """Returns the content of a file.

    Args:
        path: The file.
        fix: What to do if it cannot be read.

    Raises:
        UserError: It is missing, is no regular file, or cannot be read.
    """
    fault = why_no_file(path)
    if fault is None:
        try:
            return Path(path).read_bytes()
        except OSError as error:
            fault = f"cannot be read ({error.strerror or error})"
    raise UserError(f"{path} {fault}.", fix=fix)


def read_text(path: str | Path, fix: str | None = None) -> str:
    """Returns the content of a UTF-8 file; see :func:`read_bytes`.

    Raises:
        UserError: Also for another encoding.
    """
    try:
        return read_bytes(path, fix).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8: {error}.", fix=fix) from error
