"""Files that keep how many pixels of each class every label holds: the converters' and our own.

No torch: ``tools/doctor.py`` compares them with the labels.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mmseg_uda.errors import UserError

from .conversion import Counts

CACHE_VARIABLE = "MMSEG_UDA_CACHE"


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
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        wanted = set(names)
        found: dict[str, Counts] = {}
        for entry in entries:
            name = longest_suffix(entry["file"], wanted)
            if name is not None:
                found[name] = {int(k): int(v) for k, v in entry.items() if k != "file"}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a list of class counts: {error}.",
            fix="run the data set's converter again, or delete the file to have it counted anew",
        ) from error
    if len(found) < len(wanted):
        return None
    return [found[name] for name in names]


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
    """Reads one of our own files in the order of names."""
    stored = json.loads(path.read_text(encoding="utf-8"))["counts"]
    return [{int(k): v for k, v in stored[name].items()} for name in names]


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
