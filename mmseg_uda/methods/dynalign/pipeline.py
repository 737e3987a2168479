"""All stages over a share of the images, and what is said about them at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmseg_uda.errors import UserError
from mmseg_uda.files import write_json, write_text
from mmseg_uda.locks import Lock
from mmseg_uda.methods.dynalign.records import read_record
from mmseg_uda.methods.dynalign.running import (
    Failure,
    Item,
    NotReady,
    Stage,
    StageReport,
    run_stage,
)
from mmseg_uda.methods.dynalign.stages import Run
from mmseg_uda.progress import track


class Pipeline:
    """Runs stages over a share of the images; a run that was interrupted goes on.

    Args:
        run: What the stages share.
        items: The images of this share.
        share: Rank and number of shares; names the files of this share.
        workers: Threads that read ahead.
        overwrite: Do everything anew.
        strict: Results of other settings are an error instead of being replaced.
    """

    def __init__(
        self,
        run: Run,
        items: Sequence[Item],
        share: tuple[int, int] = (0, 1),
        workers: int = 2,
        overwrite: bool = False,
        strict: bool = False,
    ) -> None:
        self.run = run
        self.items = list(items)
        self.share = share
        self.workers, self.overwrite, self.strict = workers, overwrite, strict
        self.reports: list[StageReport] = []

    def __call__(self, stages: Sequence[Stage]) -> dict[str, Any]:
        """Runs stages in the given order.

        Written are ``summary.json`` and, with a line per image, ``statistics.jsonl`` and
        ``failures.jsonl``.

        An image that fails in a stage is left out of the later ones.

        Returns:
            The summary.

        Raises:
            UserError: Another process works on this share, weights are missing (those of all
                stages are named), or see :func:`run_stage`.
        """
        self.run.out.mkdir(parents=True, exist_ok=True)
        lock = Lock(self.run.out / self._file(".share", ".lock"))
        if not lock.acquire():
            raise UserError(
                f"Another process writes to {self.run.out}.",
                fix="Wait for it, give another --out, or --rank and --world-size to share the "
                "images.",
            )
        try:
            for number, stage in enumerate(stages):
                failed = {failure.name for failure in self.failures}
                items = [item for item in self.items if item.name not in failed]
                try:
                    report = run_stage(stage, items, self.workers, self.overwrite, self.strict)
                except NotReady as error:
                    raise _all_missing(error, stages[number + 1 :]) from error
                self.reports.append(report)
            return self._finish()
        finally:
            lock.release()

    @property
    def failures(self) -> list[Failure]:
        """Images that failed so far."""
        return [failure for report in self.reports for failure in report.failures]

    def _finish(self) -> dict[str, Any]:
        self._write_lines("failures", [failure.as_json() for failure in self.failures])
        run = self.run
        summary: dict[str, Any] = {
            "images": len(self.items),
            "failed": len(self.failures),
            "failures": [failure.as_json() for failure in self.failures],
            "share": {"rank": self.share[0], "of": self.share[1]},
            "taxonomy": run.engine.taxonomy.name,
            "proposer": None if run.proposer is None else run.proposer.cache_key,
            "scorer": run.engine.scorer_key,
            "options": run.options.as_json(),
            "stages": {report.stage: report.as_json() for report in self.reports},
            **run.engine.scorer.as_json(),
        }
        records, classes = self._records(), run.engine.taxonomy.target_classes
        if records:
            summary["alignment"] = alignment_summary(list(records.values()), classes)
            rows = [
                {"name": name, **image_summary(record), "pixels": class_pixels(record, classes)}
                for name, record in records.items()
            ]
            self._write_lines("statistics", rows)
        write_json(run.out / self._file("summary", ".json"), summary)
        return summary

    def _records(self) -> dict[str, dict[str, np.ndarray]]:
        stage = self.run.stages["relabel"]
        failed = {failure.name for failure in self.failures}
        paths = {item.name: stage.path(item) for item in self.items if item.name not in failed}
        there = {name: path for name, path in paths.items() if path.is_file()}
        return {name: read_record(there[name]) for name in track(there, "Summing up")}

    def _write_lines(self, stem: str, entries: Sequence[Mapping[str, Any]]) -> None:
        text = "".join(f"{json.dumps(entry)}\n" for entry in entries)
        write_text(self.run.out / self._file(stem, ".jsonl"), text)

    def _file(self, stem: str, suffix: str) -> str:
        rank, world = self.share
        return f"{stem}{suffix}" if world == 1 else f"{stem}-{rank}-of-{world}{suffix}"


def _all_missing(first: UserError, later: Sequence[Stage]) -> UserError:
    """One error that also names what later stages will miss."""
    errors = [first]
    for stage in later:
        try:
            stage.prepare()
        except UserError as error:
            errors.append(error)
    if len(errors) == 1:
        return first
    text = "".join(f"\n- {error.message}\n  Fix: {error.fix}" for error in errors)
    return UserError(f"{len(errors)} networks cannot be loaded:{text}")


def image_summary(record: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Numbers of one image, from its record of the relabel stage.

    Returns:
        ``masks``; ``covered``, share of the image below regions; ``switched``, share of regions
        with another class than their source class's default; ``mean_probability`` of the best
        candidates.
    """
    voted = record["majority"] >= 0
    count = int(voted.sum())
    return {
        "masks": len(record["majority"]),
        "covered": float(record["covered"]),
        "switched": float(record["changed"].sum() / count) if count else 0.0,
        "mean_probability": float(record["p"][voted].mean()) if count else 0.0,
    }


def alignment_summary(
    records: Sequence[Mapping[str, np.ndarray]], classes: Sequence[str]
) -> dict[str, Any]:
    """Numbers of all images together: means of :func:`image_summary`, and pixels per class.

    Args:
        records: Of the relabel stage.
        classes: Target classes by id.
    """
    images = [image_summary(record) for record in records]
    means = {key: round(float(np.mean([image[key] for image in images])), 4) for key in images[0]}
    pixels: dict[str, int] = {}
    for record in records:
        for name, count in class_pixels(record, classes).items():
            pixels[name] = pixels.get(name, 0) + count
    return {"images": len(records), **means, "pixels": pixels}


def class_pixels(record: Mapping[str, np.ndarray], classes: Sequence[str]) -> dict[str, int]:
    """Pixels of each class in the label map of one image, from its record of the relabel stage."""
    pairs = zip(record["classes"].tolist(), record["pixels"].tolist(), strict=True)
    return {classes[v] if v < len(classes) else f"id {v}": count for v, count in pairs}
