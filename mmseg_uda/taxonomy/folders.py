"""Which files lie below a folder, and which of them are no data."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmseg_uda.errors import UserError

IMAGE_ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".webp", ".bmp", ".dib", ".gif"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif", ".exr", ".dng"),
)
"""Of files that look like images, in lower case, whether or not they can be read."""
SYSTEM_NAMES = frozenset(
    (
        *("__macosx", "@eadir", "@recycle", "#recycle", "$recycle.bin", "lost+found"),
        *("system volume information", "thumbs", "thumbnails"),
    )
)
"""Folders of operating systems and file servers, in lower case; a dot hides others."""
APPLE_DOUBLE = "._"
"""Begins the name of a file that holds what other file systems cannot: no image."""


@dataclass
class Leftovers:
    """What a walk met and did not yield; paths are relative to its folder.

    Attributes:
        others: Files that look like images and do not match.
        hidden: Files that match, and are hidden or lie in a hidden or system folder.
        again: Links to a folder that is walked through anyway, or that holds the walk's own.
        unusable: What matches and is no file: links to nothing, pipes, devices; or whose name is
            not UTF-8.
        repeated: Entries of a list that name an image for the second time.
        linked: What was yielded and is a link to a file.
    """

    others: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    linked: list[str] = field(default_factory=list)


def scan(folder: Path, suffix: str, left: Leftovers | None = None) -> Iterator[str]:
    """Yields the relative POSIX paths of the files below a folder that end with the suffix.

    See :func:`walk`.
    """
    return walk(folder, lambda name: name.endswith(suffix), left)


def walk(
    folder: Path,
    matches: Callable[[str], bool],
    left: Leftovers | None = None,
    skip: tuple[str, ...] = (),
) -> Iterator[str]:
    """Yields the relative POSIX paths of the files below a folder whose names match.

    Hidden files and what systems put into folders are left out. Links are followed after
    everything else, so that a folder has its own name where it has one, and none is entered twice.

    Args:
        folder: Where; nothing is found where there is none.
        matches: File name -> whether it belongs to the data.
        left: Gets what is left out; to find it takes a little longer.
        skip: Real paths of folders that are left out.

    Raises:
        UserError: A folder below cannot be read.
    """
    top = os.path.realpath(folder)
    seen = {top, *skip}
    pending = [("", top)]
    links: list[tuple[str, str]] = []
    while pending or links:
        if not pending:
            links.sort(reverse=True)
            prefix, real = links.pop()
            if real in seen or top.startswith(os.path.join(real, "")):
                if left is not None and real not in skip:
                    left.again.append(_shown(prefix[:-1]))
                continue
            seen.add(real)
            pending.append((prefix, real))
        prefix, here = pending.pop()
        for entry in _entries(Path(folder), prefix):
            name, below = entry.name, prefix + entry.name
            if name.startswith(".") or name.lower() in SYSTEM_NAMES:
                if left is not None:
                    left.hidden += _hidden(entry, below, matches)
                continue
            kind = _kind(entry)
            if kind == stat.S_IFDIR and entry.is_symlink():
                links.append((f"{below}/", os.path.realpath(entry.path)))
            elif kind == stat.S_IFDIR:
                real = os.path.join(here, name)
                if real not in seen:
                    seen.add(real)
                    pending.append((f"{below}/", real))
                elif left is not None and real not in skip:
                    left.again.append(_shown(below))
            elif kind == stat.S_IFREG and matches(name) and _is_text(below):
                if left is not None and entry.is_symlink():
                    left.linked.append(below)
                yield below
            elif left is not None and matches(name):
                left.unusable.append(_shown(below))
            elif left is not None and name.lower().endswith(IMAGE_ENDINGS):
                left.others.append(_shown(below))


def _entries(folder: Path, prefix: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder / prefix) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise UserError(
            f"The folder {folder / prefix} cannot be read: {error.strerror}.",
            fix="Make it readable (chmod -R a+rX), or move it elsewhere if it holds no data.",
        ) from error


def _kind(entry: os.DirEntry[str]) -> int:
    """The file type, of a link that of its target; 0 if that is not there."""
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    try:
        return stat.S_IFMT(entry.stat().st_mode)
    except OSError:
        return 0


def _is_text(name: str) -> bool:
    """Whether a name is UTF-8: others can be opened, but neither printed nor written."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def _shown(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _hidden(entry: os.DirEntry[str], below: str, matches: Callable[[str], bool]) -> list[str]:
    """Files that match: the entry itself, or those below it."""
    if not entry.is_dir(follow_symlinks=False):
        data = matches(entry.name) and not entry.name.startswith(APPLE_DOUBLE)
        return [_shown(below)] if data and _kind(entry) == stat.S_IFREG else []
    try:
        return [f"{_shown(below)}/{name}" for name in walk(Path(entry.path), matches)]
    except UserError:  # lost+found is the administrator's
        return []


def same_name(name: str) -> str:
    """Returns what is equal for names that differ in case or in how accents are composed."""
    return unicodedata.normalize("NFC", name).casefold()


def similar(path: Path) -> str | None:
    """Returns the name of a file beside a missing one that may have been meant.

    That is one that differs in case or composition, in its ending, or goes on after the stem.
    """
    wanted = same_name(path.name)
    stem = wanted.rpartition(".")[0] or wanted
    try:
        names = sorted(os.listdir(path.parent))
    except OSError:
        return None
    longer = [n for n in names if same_name(n).removeprefix(stem)[:1] in tuple("._- ")]
    alike = [name for name in names if same_name(name) == wanted]
    return next(iter(alike + [n for n in longer if same_name(n).startswith(stem)]), None)
