"""Files that keep how many pixels of each class every label holds: the converters' and our own.

No torch: ``tools/doctor.py`` compares them with the labels.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.regular_files import read_text

from .conversion import Counts

CACHE_VARIABLE = "MMSEG_UDA_CACHE"
COUNT_ANEW = "Run the data set's converter again, or delete the file to have it counted anew."
IDS = 256
MOST_PIXELS = 1 << 31  # of an image; OpenCV reads half of it


def published_counts(path: Path, names: Sequence[str]) -> list[Counts] | None:
    """Reads a converter's ``sample_class_stats.json``.

    Args:
        path: The file.
        names: Label files relative to the label folder.

    Returns:
        Pixels by trainId in the order of names; None if the file is missing or does not cover them.

    Raises:
        UserError: The file has another format.
    """
    if not path.is_file():
        return None
    entries, wanted = _load(path), set(names)
    if not isinstance(entries, list):
        raise _damaged(path, f"it is no list but {type(entries).__name__}")
    found: dict[str, Counts] = {}
    for number, entry in enumerate(entries):
        file = entry.get("file") if isinstance(entry, dict) else None
        if not isinstance(file, str):
            raise _damaged(path, f"entry {number} names no file")
        name = longest_suffix(file, wanted)
        if name is not None:
            counts = {key: value for key, value in entry.items() if key != "file"}
            found[name] = counts_in(counts, path, name)
    if len(found) < len(wanted):
        return None
    return [found[name] for name in names]


def counts_in(entry: Any, path: Path, name: str) -> Counts:
    """Checks what a file holds about one label.

    Args:
        entry: Pixels by id, as JSON has them: ids are texts.
        path: The file.
        name: The label.

    Raises:
        UserError: It is something else, or a number that no label can have.
    """
    if not isinstance(entry, dict):
        raise _damaged(path, f"{name}: {entry!r} is no map of ids to pixels")
    for key, pixels in entry.items():
        if not (re.fullmatch(r"\d{1,3}", key) and int(key) < IDS):
            raise _damaged(path, f"{name}: {key!r} is no id in 0..{IDS - 1}")
        if isinstance(pixels, bool) or not isinstance(pixels, int) or not 0 <= pixels < MOST_PIXELS:
            raise _damaged(path, f"{name}: {pixels!r} is no number of pixels (id {key})")
    return {int(key): pixels for key, pixels in entry.items()}


def _load(path: Path) -> Any:
    try:
        return json.loads(read_text(path, COUNT_ANEW))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path} is not a list of class counts: {what}.", fix=COUNT_ANEW)


def longest_suffix(path: str, names: set[str]) -> str | None:
    """Finds the name that a path ends with.

    The files may have been written on another machine, so only the end of a path counts; taking
    the longest keeps equal base names in two folders apart.
    """
    parts = PurePosixPath(path.replace("\\", "/")).parts
    for start in range(len(parts)):
        name = "/".join(parts[start:])
        if name in names:
            return name
    return None


def cache_files(root: Path, fingerprint: str, kind: str = "class_stats") -> list[Path]:
    """Returns where our own file on a data set may lie: beside it, or in the user's cache."""
    file_name = f"{kind}_{fingerprint}.json"
    home = hashlib.sha1(str(root.resolve()).encode()).hexdigest()[:12]
    return [root / file_name, _user_cache() / home / file_name]


def cached_counts(path: Path, names: Sequence[str]) -> list[Counts]:
    """Reads one of our own files in the order of names.

    Raises:
        UserError: The file is damaged.
    """
    content = _load(path)
    stored = content.get("counts") if isinstance(content, dict) else None
    if not isinstance(stored, dict):
        raise _damaged(path, "it has no 'counts' by label file")
    return [counts_in(stored.get(name), path, name) for name in names]


def fingerprint_of(paths: Sequence[str], names: Sequence[str], options: str = "") -> str:
    """Returns a value that changes with the options, or when a label file is added or written."""
    digest = hashlib.sha1(options.encode())
    for path, name in zip(paths, names, strict=True):
        stat = os.stat(path)
        digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _user_cache() -> Path:
    if CACHE_VARIABLE in os.environ:
        return Path(os.environ[CACHE_VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "mmseg_uda")
