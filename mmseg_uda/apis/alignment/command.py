"""What the command lines of the alignment share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

SHOWN = 10  # failures; all of them are in a file


def device_of(local_rank: int, world: int) -> str | None:
    """The GPU of one of several processes; None lets the alignment choose."""
    if world == 1 or not torch.cuda.is_available():
        return None
    return f"cuda:{local_rank % torch.cuda.device_count()}"


def report(summary: dict[str, Any], out: Path) -> int:
    """Prints what was done; 1 if images failed.

    Args:
        summary: As :func:`~mmseg_uda.apis.alignment.align_folder` returns.
        out: Folder of the results.
    """
    done = {name: stage["done"] for name, stage in summary["stages"].items()}
    parts = ", ".join(f"{name} {count}" for name, count in done.items()) or "nothing"
    image, text = summary["image_encoder"]["calls"], summary["text_encoder"]["calls"]
    print(f"{summary['images']} images, done now: {parts}; {summary['failed']} failed: {out}")
    print(f"Calls of the image encoder: {image}, of the text encoder: {text}.")
    facts = summary.get("alignment")
    if facts:
        print(
            f"{facts['masks']:.1f} regions per image cover {100 * facts['covered']:.1f} %; "
            f"{100 * facts['switched']:.1f} % of them left their default class."
        )
    scores = summary.get("scores")
    if scores:
        named = ("mIoU_eval", "mIoU_known", "mIoU_new", "mIoU_upstream", "aAcc")
        print(", ".join(f"{name} {scores[name]}" for name in named if name in scores))
        unscored = len(scores.get("without_label", ()))
        if unscored:
            print(f"{unscored} images have no label and are not scored.", file=sys.stderr)
    for failure in summary["failures"][:SHOWN]:
        where = f"{failure['image']} failed in {failure['stage']}"
        print(f"{where}: {failure['error']}", file=sys.stderr)
    if summary["failed"] > SHOWN:
        more = summary["failed"] - SHOWN
        print(f"{more} more have failed, see {out}/failures*.jsonl", file=sys.stderr)
    return int(summary["failed"] > 0)
