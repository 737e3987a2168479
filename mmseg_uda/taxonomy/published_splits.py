"""Which frames of a data set belong to which split, where its folders do not tell.

The splits are YAML files in ``splits/``: run lengths or bits over consecutive frame numbers, with
the SHA-256 of every list.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

import yaml

from mmseg_uda.errors import UserError

SPLITS_DIR = Path(__file__).parent / "splits"
LIST_FOLDER = "splits"


def available_splits() -> list[str]:
    """Returns the data sets with a published split: 'gta', 'synthia'."""
    return sorted(path.stem for path in SPLITS_DIR.glob("*.yaml"))


@cache
def published_split(dataset: str) -> dict[str, tuple[str, ...]]:
    """Returns the frame names of each split (SRHA).

    Args:
        dataset: 'gta' (train, val, test; 16 frames are in none) or 'synthia' (train, val).

    Raises:
        UserError: Unknown data set, or a file whose lists differ from the published ones.
    """
    if dataset not in available_splits():
        raise UserError(
            f"There is no published split of '{dataset}'.",
            fix=f"Use {', '.join(available_splits())}.",
        )
    content = yaml.safe_load((SPLITS_DIR / f"{dataset}.yaml").read_text(encoding="utf-8"))
    letters = _letters(content)
    first, digits = content["first"], content["digits"]
    splits = {}
    for letter, split in content["symbols"].items():
        if split is None:
            continue
        names = tuple(f"{first + i:0{digits}d}" for i, x in enumerate(letters) if x == letter)
        if list_digest(names) != content["sha256"][split]:
            raise UserError(
                f"The {split} list of '{dataset}' is not the published one.",
                fix="Install the package again: its data files are damaged.",
            )
        splits[split] = names
    return splits


def list_digest(names: tuple[str, ...] | list[str]) -> str:
    """Returns the SHA-256 of names, one per line, without a line break at the end."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _letters(content: dict) -> str:
    """The split of every frame as one letter each."""
    if "runs" in content:
        runs = re.findall(r"([A-Za-z])(\d+)", content["runs"].replace(" ", ""))
        return "".join(letter * int(count) for letter, count in runs)
    data = base64.b64decode(content["bits"])
    return "".join(f"{byte:08b}" for byte in data)[: content["count"]]
