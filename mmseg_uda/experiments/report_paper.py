"""What a report says beside its tables: the paper's own layout, differences, the protocol."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mmseg_uda import __version__
from mmseg_uda.config_files import ROOT
from mmseg_uda.experiments import profiles
from mmseg_uda.experiments.grid import Experiment
from mmseg_uda.experiments.report_tables import (
    UNKNOWN,
    Table,
    metric_title,
    reported,
    table_metrics,
    text,
)
from mmseg_uda.experiments.results import RowResult

PACKAGES = ("torch", "mmcv", "mmengine", "mmsegmentation")
DIFFERENCES = "Difference to the published value, in points; a single run may be 2 points lower."


def printed_table(rows: Sequence[RowResult], published: bool) -> Table | None:
    """Returns lines and columns as the paper prints them; None where it has one number per line.

    Args:
        rows: What the jobs have reached.
        published: Whether published values stand behind ours, in brackets.
    """
    cells = {row.row.cell: row for row in rows if row.row.cell is not None}
    lines = list(dict.fromkeys(line for line, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    if not cells:
        return None
    body = []
    for line in lines:
        body.append([line])
        for column in columns:
            row = cells.get((line, column))
            body[-1].append(UNKNOWN if row is None else _cell(row, published))
    return Table(["", *columns], body)


def _cell(row: RowResult, published: bool) -> str:
    value = reported(row, "mIoU") if published else None
    return text(row.metric("mIoU")) + ("" if value is None else f" ({value:g})")


def difference_table(experiment: Experiment, rows: Sequence[RowResult]) -> Table | None:
    """Returns ours, the published value and the difference; None without a pair of them."""
    metrics = table_metrics(experiment, rows)
    lines = []
    for row in rows:
        for metric in metrics:
            ours, theirs = row.metric(metric), reported(row, metric)
            if ours is None or theirs is None:
                continue
            cells = [str(row.number), row.row.label, metric_title(metric, metrics)]
            lines.append([*cells, text(ours), f"{theirs:g}", f"{ours.value - theirs:+.1f}"])
    return Table(["#", "row", "metric", "ours", "reported", "Δ"], lines) if lines else None


def single_seeds(rows: Sequence[RowResult]) -> str:
    """Returns which rows rest on one seed, '' if none does."""
    found = [str(row.number) for row in rows if len(row.finished) == 1]
    return f"One seed, and so no deviation: {_rows(found)}." if found else ""


def protocol(experiment: Experiment, profile: str) -> list[str]:
    """Returns how the rows are evaluated, one line per way, and with which software."""
    ways: dict[str, list[str]] = {}
    for number, row in enumerate(experiment.rows, start=1):
        config = row.resolved
        if "model" in config:
            config = profiles.mini(config) if profile == "mini" else config
            ways.setdefault(_way(config), []).append(str(number))
    lines = [f"{way} ({_rows(numbers)})." for way, numbers in ways.items()]
    return [*lines, f"Report written with {_software()}."]


def _rows(numbers: Sequence[str]) -> str:
    return f"row{'s' * (len(numbers) > 1)} {', '.join(numbers)}"


def _way(config: Mapping[str, Any]) -> str:
    """Network, iteration, resolution, window and classes of an evaluation."""
    model, test = config["model"], config["model"].get("test_cfg") or {}
    uda = config.get("uda") or {}
    who = "Teacher" if uda.get("inference") == "teacher" else "Student"
    who = "Average of the weights" if uda.get("ema") is not None else who
    head = model["decode_head"]
    head = head if isinstance(head, Mapping) else head[-1]  # of a cascade
    name = head.get("single_scale_head", head.get("type"))
    network = f"{name} on {model.get('backbone', {}).get('type')}"
    network += " in HRDA" * (head.get("type") == "HRDAHead")
    dataset = (config.get("val_dataloader") or {}).get("dataset") or {}
    targets = dataset.get("targets") or {"": dataset}
    size = " or ".join(dict.fromkeys(map(_size, targets.values())))
    window = "whole images"
    if test.get("mode") == "slide":
        crop, stride = (test["crop_size"], test["stride"])
        window = f"windows of {crop[0]}x{crop[1]}, stride {stride[0]}x{stride[1]}"
    return (
        f"{who} at the last iteration, {network}, images within {size}, "
        f" {window}, {head.get('num_classes')} classes"
        + (f", targets {', '.join(targets)}" if len(targets) > 1 else "")
    )


def _size(dataset: Mapping[str, Any]) -> str:
    """Returns what the images of a data set are shrunk or enlarged to fit into."""
    scales = [step["scale"] for step in dataset.get("pipeline", ()) if "scale" in step]
    return "x".join(map(str, scales[-1])) if scales else "their own size"


@cache
def _software() -> str:
    named = [f"mmseg_uda {__version__}"]
    for package in PACKAGES:
        for name in (package, f"onedl-{package}"):
            try:
                named.append(f"{name} {version(name)}")
                break
            except PackageNotFoundError:
                continue
    revision = _revision()
    return ", ".join(named) + (f", git revision {revision}" if revision else "")


def _revision() -> str:
    """Returns the short commit of this checkout, '' where there is none."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
