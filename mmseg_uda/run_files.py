"""What a run leaves for its runner and its next attempt: names, and reading with a check.

No torch: the experiment runner reads these files while trainings write them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.files import read_json
from mmseg_uda.regular_files import read_text

EVALUATIONS = "evaluations.json"
PROGRESS = "progress.json"
STATUS = "status.json"
MOST = 1e300
MOVE_EVALUATIONS = (
    "Put it right, or move it away: the run then goes on without the validations before."
)


def read_evaluations(folder: Path) -> list[dict[str, Any]]:
    """Returns the validations of a run in the order of iterations, [] if there are none.

    Raises:
        UserError: The file is damaged. It is left as it is: nothing else holds all of its numbers.
    """
    path = folder / EVALUATIONS
    content = read_strictly(path, MOVE_EVALUATIONS)
    if content is None:
        return []
    if not isinstance(content, list):
        raise damaged(path, "it is no list", MOVE_EVALUATIONS)
    for number, entry in enumerate(content):
        step = entry.get("iter") if isinstance(entry, dict) else None
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise damaged(path, f"entry {number} has no number of its step", MOVE_EVALUATIONS)
        classes = entry.get("IoU", {})
        if not isinstance(classes, dict):
            raise damaged(path, f"IoU {classes!r} of step {step} is no map", MOVE_EVALUATIONS)
        for name, value in (*entry.items(), *classes.items()):
            if not (value is None or isinstance(value, (dict, list)) or is_number(value)):
                what = f"{name} {value!r} of step {step} is no number"
                raise damaged(path, what, MOVE_EVALUATIONS)
    return sorted(content, key=lambda entry: entry["iter"])


def read_progress(folder: Path) -> dict[str, Any]:
    """Returns the numbers of a run's ``progress.json``: iter, max_iters, seconds_per_iter, ...

    A damaged file is as good as none: the run writes it anew at its next interval.
    """
    content = read_json(folder / PROGRESS)
    content = content if isinstance(content, dict) else {}
    whole = ("iter", "max_iters")
    return {
        name: value
        for name, value in content.items()
        if is_number(value) and value >= 0 and (name not in whole or isinstance(value, int))
    }


def read_strictly(path: Path, fix: str) -> Any:
    """Returns the content of a JSON file, None where there is none.

    Args:
        path: The file.
        fix: What to do if it is damaged.

    Raises:
        UserError: It is damaged, or no file.
    """
    if not path.exists() and not path.is_symlink():
        return None
    try:
        return json.loads(read_text(path, fix))
    except (ValueError, RecursionError) as error:
        raise damaged(path, str(error), fix) from error


def damaged(path: Path, what: str, fix: str) -> UserError:
    """Returns the error that tells about a damaged file."""
    return UserError(f"{path} is damaged: {what}.", fix=fix)


def is_number(value: Any) -> bool:
    """Whether a value from a file is a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return -MOST < value < MOST  # a float holds them all
