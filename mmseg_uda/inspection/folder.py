"""What a walk through a folder of images left out, or took in although it looks like no image."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from mmseg_uda.findings import Finding, Level
from mmseg_uda.taxonomy.companions import belongs, in_label_folder, kinds, label_like
from mmseg_uda.taxonomy.folders import Leftovers

from .data_sets import AREA

FOLLOWED = 1000
"""Links to files whose target is asked for."""


def check_folder(
    title: str, images: Mapping[str, str], left: Leftovers, suffix: str = ""
) -> list[Finding]:
    """Compares the images in use with what lies beside them, by names alone.

    Args:
        title: Names the folder in messages.
        images: Images in use: relative path without suffix -> with it.
        left: What the walk left out.
        suffix: End of the names in use; '' if images of several types are.
    """
    found = []
    stems = set(images)
    others = [n for n in left.others if not belongs(n, suffix, stems) and not in_label_folder(n)]
    if others:
        used = f"images that end with {suffix}" if suffix else "images"
        found.append(
            warning(
                f"{title}: {len(images)} {used} are used; {len(others)} files with other endings "
                f"({kinds(others, suffix)}) are not, the first is {min(others)}.",
                "Rename them, since a data set has one img_suffix; or move them elsewhere."
                if suffix
                else "Convert them to PNG or JPEG, or move them elsewhere.",
                others=sorted(others),
            )
        )
    if left.hidden:
        found.append(
            warning(
                f"{title}: {len(left.hidden)} images that are hidden, or lie in hidden or system "
                f"folders, are not used, the first is {min(left.hidden)}.",
                "Remove them if they are copies or thumbnails; else give them another name.",
                hidden=sorted(left.hidden),
            )
        )
    if left.again:
        found.append(
            warning(
                f"{title}: {len(left.again)} links lead back or to a folder that is read already, "
                f"and are not followed again, the first is {min(left.again)}",
                "Remove them; each image is used once.",
                links=sorted(left.again),
            )
        )
    foreign = label_like(images)
    if foreign:
        found.append(
            warning(
                f"{title}: {len(foreign)} of the {len(images)} images in use are called like "
                f"labels of others, the first is {min(foreign)}.",
                "Move them out of img_dir, or list the images in a file_list; where they are the "
                "labels, label_dir and label_suffix tell them from images."
                if suffix
                else "Give the folder of the images alone.",
                foreign=sorted(foreign),
            )
        )
    return found


def check_links(title: str, folder: Path, images: Sequence[str], left: Leftovers) -> list[Finding]:
    """Finds images that are used under several names; of many links, the first are followed."""
    links = sorted(left.linked)[:FOLLOWED]
    real = cache(os.path.realpath)  # images share few folders
    placed = (os.path.split(folder / name) for name in set(images) - set(left.linked))
    seen = {os.path.join(real(parent), base) for parent, base in placed} if links else set()
    again = []
    for name in links:
        target = os.path.realpath(folder / name)
        again += [name] if target in seen else []
        seen.add(target)
    if not again:
        return []
    return [
        warning(
            f"{title}: {len(again)} images are links to others that are used, too, the first is "
            f"{again[0]}",
            "Remove the links, unless these images are to be seen more often.",
            copies=again,
        )
    ]


def warning(message: str, fix: str, **details: object) -> Finding:
    """Returns a warning about files."""
    return Finding(AREA, Level.WARNING, message, fix=fix, details=details)
