"""The example predictions of a table: one strip of pictures per validation image."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg_uda.experiments.jobs import State
from mmseg_uda.experiments.results import JobResult, RowResult
from mmseg_uda.files import read_json

TYPES = {".jpg": "image/jpeg", ".png": "image/png"}


@dataclass
class Strip:
    """One validation image.

    Attributes:
        name: Of the image file.
        image: Data URI.
        label: Data URI, None where there is no label.
        predictions: Row number → (data URI, job, iteration).
    """

    name: str
    image: str
    label: str | None
    predictions: dict[int, tuple[str, JobResult, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Examples:
    """All strips, and the names and colours of the label space ([] without examples)."""

    strips: Sequence[Strip]
    classes: Sequence[str]
    palette: Sequence[Sequence[int]]


def read_examples(rows: Sequence[RowResult], folder: Path) -> Examples:
    """Collects what the jobs left in their ``examples`` folders.

    A row is shown by its finished job of the lowest seed, or by any job that has pictures.
    """
    strips: dict[str, Strip] = {}
    classes: list[str] = []
    palette: list[list[int]] = []
    for row in rows:
        for job in sorted(row.jobs, key=lambda j: j.state is not State.DONE):
            found = _read(folder / job.job.name / "examples")
            if not found["examples"]:
                continue
            classes, palette = classes or found["classes"], palette or found["palette"]
            for entry in found["examples"]:
                _add(strips, entry, row.number, job, found["iter"])
            break
    return Examples(list(strips.values()), classes, palette)


def _add(
    strips: dict[str, Strip], entry: dict[str, Any], number: int, job: JobResult, step: int
) -> None:
    prediction = _uri(entry["prediction"])
    if prediction is None:
        return
    if entry["name"] not in strips:
        image = _uri(entry["image"])
        if image is None:
            return
        strips[entry["name"]] = Strip(entry["name"], image, _uri(entry["label"]))
    strips[entry["name"]].predictions[number] = (prediction, job, step)


def _read(folder: Path) -> dict[str, Any]:
    """The lists of all processes of a job, with paths in place of file names."""
    merged: dict[str, Any] = {"examples": [], "classes": [], "palette": [], "iter": 0}
    for file in sorted(folder.glob("examples*.json")):
        content = read_json(file)
        if not isinstance(content, dict):
            continue
        merged |= {key: content[key] for key in ("classes", "palette", "iter")}
        for entry in content["examples"]:
            paths = {k: v if k == "name" else _beside(folder, v) for k, v in entry.items()}
            merged["examples"].append(paths)
    return merged


def _beside(folder: Path, name: Any) -> Path | None:
    """A picture in the job's own folder: the page must not show what a list points to elsewhere."""
    inside = isinstance(name, str) and Path(name).name == name and Path(name).suffix in TYPES
    return folder / name if inside else None


def _uri(path: Path | None) -> str | None:
    """The file as a data URI, None where it is missing."""
    if path is None or not path.is_file():
        return None
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"data:{TYPES[path.suffix]};base64,{data}"
