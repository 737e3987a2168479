"""Lists of the images in use: one name per line, without suffix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from pathlib import Path

from mmseg_uda.errors import UserError


def read_list(path: Path) -> list[str]:
    """Returns the names in a list file.

    Raises:
        UserError: The file is empty.
    """
    names = path.read_text(encoding="utf-8").split()
    if not names:
        raise UserError(f"{path} lists nothing.", fix="one image name per line, without suffix")
    return names


def entry_of(stem: str, listed: Set[str]) -> str | None:
    """Returns the entry that an image belongs to, None for an image that is not listed.

    Args:
        stem: Path of the image below its folder, without suffix.
        listed: Entries; one without folders stands for the image of that name wherever it lies.
    """
    if stem in listed:
        return stem
    base = stem.rpartition("/")[2]
    return base if base in listed else None


def check_listed(where: str, listed: Sequence[str], stems: Iterable[str], fix: str) -> None:
    """Checks that every entry has exactly one image.

    Args:
        where: Data set, folder and list for messages.
        listed: Entries.
        stems: Images that belong to an entry.
        fix: How to get missing images.

    Raises:
        UserError: An image is missing or there twice.
    """
    known = set(listed)
    found: dict[str, str] = {}
    for stem in stems:
        entry = str(entry_of(stem, known))
        if entry in found:
            raise UserError(
                f"{where}: {found[entry]} and {stem} both match the entry '{entry}'.",
                fix="list images with their folders, or keep one of the two",
            )
        found[entry] = stem
    absent = [entry for entry in listed if entry not in found]
    if absent:
        raise UserError(
            f"{where}: {len(absent)} of {len(listed)} listed images are missing, the first is "
            f"{absent[0]}.",
            fix=fix,
        )
