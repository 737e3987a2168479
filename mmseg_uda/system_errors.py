"""What the machine refuses, in one readable message: files, disks, memory.

``cli.run_tool`` and the experiment runner ask :func:`explain` about every exception that nobody
expected; what it knows is no fault of the program.
"""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from mmseg_uda.errors import DISK_FULL, UserError, no_space, size_text

SHARED_MEMORY = Path("/dev/shm")
NEARLY_FULL = 50e6  # bytes
OPEN_FILES = (io.IOBase, tempfile._TemporaryFileWrapper)
FIXES = {
    errno.EACCES: "Give a place that you may read and write, or ask for the permission.",
    errno.EPERM: "Give a place that you may read and write, or ask for the permission.",
    errno.EROFS: "Give a place on a disk that is not read-only.",
    errno.ENOTDIR: "Give a place that does not lie below a file.",
    errno.EEXIST: "Give another place, or move away what is there.",
    errno.EISDIR: "Give another place, or move the folder away.",
    errno.ENOENT: "Check the path.",
    errno.ELOOP: "Remove the link, which leads to itself.",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f), or give a place on a disk "
    "whose file system takes larger files.",
    errno.EMFILE: "Raise the limit on open files (ulimit -n), or use fewer workers.",
    errno.ENFILE: "Close other programs, or use fewer workers.",
}
# Without a file these are about the machine; all others may be a fault of the program.
OF_MACHINE = {errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EIO}
# What only this machine refuses: an error of a network has no file.
OF_DISK = {*DISK_FULL, *FIXES}

# What libraries say that have no exception of their own for it.
NO_MEMORY = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|not enough memory"
    r"|(failed|unable) to allocate|ALLOC_FAILED|can't start new thread"
    r"|could not create a (primitive|memory object)",
    re.IGNORECASE,
)
NO_SHARED_MEMORY = re.compile(r"out of shared memory|shared memory object|\(shm\)|</torch_")
LESS_MEMORY = (
    "End other programs that use it. A training takes less with a smaller "
    "train_dataloader.batch_size or crop, fewer num_workers, --amp bf16 or execution.recompute "
    "(docs/memory_and_speed.md), inference with --sequential-slide."
)


def explain(error: BaseException) -> UserError | None:
    """Returns an error of the system in words; None for any other.

    Args:
        error: As it was caught; where it does not name its file, its traceback may.
    """
    text = str(error)
    if isinstance(error, (RuntimeError, OSError)) and NO_SHARED_MEMORY.search(text):
        return _no_shared_memory(text)
    if isinstance(error, OSError) and error.errno != errno.ENOMEM:
        return _of_file(error)
    if isinstance(error, (MemoryError, OSError)) or NO_MEMORY.search(text):
        return _no_memory(text)
    return None


def refused_here(error: BaseException) -> UserError | None:
    """Returns what a disk or the rights on it refused, in words; None for all else.

    For whoever takes any other error for one of a network.

    Args:
        error: As it was caught.
    """
    return explain(error) if isinstance(error, OSError) and error.errno in OF_DISK else None


def file_of(error: BaseException) -> str | None:
    """Returns the file that an error is about, None where nothing tells.

    A failed write does not know its file. Then the open file is in a frame that the error came
    through, or at least its path.
    """
    name = getattr(error, "filename2", None) or getattr(error, "filename", None)
    if isinstance(name, (str, os.PathLike)):
        return str(name)
    frames = list(_variables(error.__traceback__))[::-1]  # the innermost first
    opened = [getattr(v, "name", None) for v in frames if isinstance(v, OPEN_FILES)]
    paths = [str(v) for v in frames if isinstance(v, Path)]
    texts = [v for v in frames if isinstance(v, str) and len(v) < 1024 and os.path.isabs(v)]
    # A library may have removed the folder of its temporary files on the way.
    found = [name for name in opened if isinstance(name, str) and not name.startswith("<")]
    found += [name for name in (*paths, *texts) if os.path.isdir(os.path.dirname(name))]
    return next(iter(found), None)


def _variables(trace: TracebackType | None) -> Iterator[Any]:
    while trace is not None:
        yield from trace.tb_frame.f_locals.values()
        trace = trace.tb_next


def _of_file(error: OSError) -> UserError | None:
    path = file_of(error) if error.errno in DISK_FULL or error.errno in OF_MACHINE else None
    path = path or (None if error.filename is None else str(error.filename2 or error.filename))
    if error.errno in DISK_FULL:
        return _full_disks() if path is None else no_space(path)
    if "temporary directory" in (error.strerror or ""):
        return UserError(f"{error.strerror}.", fix="Set TMPDIR to a folder that you may write to.")
    if error.errno is None or (path is None and error.errno not in OF_MACHINE):
        return None
    reason = error.strerror or os.strerror(error.errno)
    subject = "A file" if path is None else path
    return UserError(f"{subject} cannot be used: {reason}.", fix=FIXES.get(error.errno))


def _full_disks() -> UserError:
    """No file is known: the disks that may be meant are looked at."""
    places = {Path.cwd(), Path(tempfile.gettempdir()), SHARED_MEMORY}
    full = []
    for place in sorted(places):
        if place.is_dir() and shutil.disk_usage(place).free < NEARLY_FULL:
            full.append(f"{place} has {size_text(shutil.disk_usage(place).free)} free")
    known = f" ({'; '.join(full)})" if full else ""
    return UserError(
        f"No space left to write a file{known}, or a quota is used up.",
        fix="Free some space, or give a folder on another disk (TMPDIR for temporary files).",
    )


def _no_memory(text: str) -> UserError:
    first = next((line.strip() for line in text.splitlines() if NO_MEMORY.search(line)), "")
    graphics = "CUDA" in text or "CUBLAS" in text or "CUDNN" in text
    what = "The GPU's memory" if graphics else "The memory"
    return UserError(
        f"{what} does not suffice{f': {first[:300]}' if first else '.'}", fix=LESS_MEMORY
    )


def _no_shared_memory(text: str) -> UserError:
    first = text.strip().splitlines()[0][:300]
    free = ""
    if SHARED_MEMORY.is_dir():
        free = f" {SHARED_MEMORY} has {size_text(shutil.disk_usage(SHARED_MEMORY).free)} free."
    return UserError(
        f"The shared memory does not suffice for the data-loading workers: {first}{free}",
        fix="Use fewer num_workers or a smaller batch, or give the machine more of it (in a "
        "container: --shm-size or --ipc=host).",
    )
