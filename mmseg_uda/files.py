"""Small files that other processes read while they change: written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.regular_files import read_text

# .NAME~MACHINE~PROCESS~RANDOM.SUFFIX: whoever finds it can tell whether somebody still writes it.
_TEMPORARY = re.compile(r"\..*~(?P<machine>[0-9a-f]{8})~(?P<process>\d+)~\w{8}(\..*)?")
_DAY = 24 * 3600.0
_swept: set[Path] = set()


def temporary_prefix(name: str) -> str:
    """Returns how the temporary files and folders of this process begin that stand for ``name``.

    The name starts with a dot, which scans of data sets leave out. Eight random characters (as
    ``tempfile`` adds them) and a suffix are to follow; :func:`remove_leftovers` knows the result.
    """
    # A name of the greatest length still leaves room.
    return f".{name[:40]}~{_machine()}~{os.getpid()}~"


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes have left half-written in a folder.

    Files of a process that lives are left alone; so are those of another machine, whose
    processes cannot be asked, for a day.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            found = _TEMPORARY.fullmatch(entry.name)
            if found is None or _in_use(found["machine"], int(found["process"]), entry):
                continue
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)


def _in_use(machine: str, process: int, entry: os.DirEntry[str]) -> bool:
    if machine != _machine():
        return time.time() - entry.stat(follow_symlinks=False).st_mtime < _DAY
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _machine() -> str:
    return hashlib.sha1(socket.gethostname().encode()).hexdigest()[:8]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path that takes the place of ``path`` when the block ends without error.

    What was written is flushed to disk before the rename. The first call in a folder removes what
    killed processes have left there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent not in _swept:
        _swept.add(path.parent)
        remove_leftovers(path.parent)
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=temporary_prefix(path.stem), suffix=path.suffix
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes files that nobody else can read; a shared folder expects what open() gives.
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = error.filename or str(path)  # a write does not know its file
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """Writes a JSON file atomically."""
    write_text(path, json.dumps(value, indent=indent) + "\n")


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file, None where it is missing or not (yet) readable."""
    try:
        return json.loads(read_text(path))
    except (UserError, ValueError, RecursionError):
        return None


def tail(path: Path, lines: int) -> str:
    """Returns the last lines of a text file, '' where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 400 * lines))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
