"""How long vote, owner map and painting take and what memory, and the calls of the image encoder.

python tools/benchmark.py dynalign --threads 2
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmseg_uda.benchmarks.timing import seconds
from mmseg_uda.calling import program
from mmseg_uda.cli import Parser, worker_count
from mmseg_uda.files import write_json
from mmseg_uda.foundation import ToyScorer
from mmseg_uda.foundation.masks import MaskSet, rle
from mmseg_uda.methods.dynalign.engine import Engine
from mmseg_uda.methods.dynalign.options import Options
from mmseg_uda.methods.dynalign.painting import assemble, default_layer
from mmseg_uda.methods.dynalign.votes import class_histogram, majority
from mmseg_uda.taxonomy import load_taxonomy_map

SIZE = (1440, 1920)
REGIONS = 300
CLASSES = 19
TIME_LIMIT = 2.0  # seconds for vote, owner map and gather of one image on two cores
MEMORY_LIMIT = 200 * 10**6  # bytes beyond what is there before
IMAGES = 3  # over which the passes of the encoders are counted
INTERIOR = 400  # pixels from a region's box to the border, so that no crop is clipped


def synthetic_regions(
    count: int, size: tuple[int, int], cover: float = 5.0, seed: int = 0
) -> MaskSet:
    """Ragged discs of different sizes that together have ``cover`` times the image's pixels."""
    rng = np.random.default_rng(seed)
    height, width = size
    share = rng.gamma(0.5, size=count) + 0.02
    radius = np.sqrt(cover * height * width * share / share.sum() / np.pi)
    runs = []
    for r in radius:
        r = int(np.clip(r, 3, min(size) / 2 - 2))
        x, y = rng.integers(r, width - r), rng.integers(r, height - r)
        columns = np.arange(x - r, x + r)
        half = np.sqrt(np.maximum(r**2 - (columns - x) ** 2, 0)) * rng.uniform(0.8, 1.0, 2 * r)
        half = np.maximum(half.astype(np.int64), 1)
        top = np.maximum(y - half, 0) + columns * height
        runs.append(rle.join_runs(top, np.minimum(top + 2 * half, (columns + 1) * height - 1)))
    return MaskSet.from_runs(runs, size)


def interior_regions(count: int, size: tuple[int, int], seed: int = 0) -> MaskSet:
    """Boxes of 20 to 60 pixels so far inside that no context crop is clipped."""
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(count):
        w, h = rng.integers(20, 60, 2)
        x = rng.integers(INTERIOR, size[1] - INTERIOR - w)
        y = rng.integers(INTERIOR, size[0] - INTERIOR - h)
        starts = (x + np.arange(w)) * size[0] + y
        runs.append((starts, starts + h))
    return MaskSet.from_runs(runs, size)


def blocks(size: tuple[int, int], classes: int, seed: int = 0) -> np.ndarray:
    """A source prediction of square blocks."""
    coarse = np.random.default_rng(seed).integers(
        0, classes, (-(-size[0] // 40), -(-size[1] // 40))
    )
    return np.kron(coarse, np.ones((40, 40), np.int64))[: size[0], : size[1]].astype(np.uint8)


def literal(masks: MaskSet, source: np.ndarray, ids: np.ndarray, base: np.ndarray) -> tuple:
    """Votes and label map with one full-size mask after the other, as published."""
    votes = np.zeros((len(masks), CLASSES), np.int64)
    painted = base.copy()
    for m in masks.order().tolist():
        mask = masks.decode(m, box_only=False)
        votes[m] = np.bincount(source[mask], minlength=CLASSES)[:CLASSES]
        painted[mask] = ids[m]
    return votes, painted


class _Blank(ToyScorer):
    """Answers at once, so that passes can be counted at full size."""

    def encode_image(self, pixels: Tensor) -> Tensor:
        return pixels.new_ones(len(pixels), self.embed_dim)


def encoder_calls(chunk: int = 128) -> dict[str, int]:
    """Passes and inputs of both encoders for ``IMAGES`` images of ``REGIONS`` interior regions."""
    scorer = _Blank(input_size=2, chunk=chunk)
    engine = Engine(load_taxonomy_map("mapillary_v5"), scorer, Options())
    masks = interior_regions(REGIONS, SIZE)
    image = np.zeros((*SIZE, 3), np.uint8)
    source = np.zeros(SIZE, np.uint8)
    voted = np.zeros(REGIONS, np.int64)
    for _ in range(IMAGES):
        engine.relabel(masks, source, voted, engine.encode(image, masks, voted))
    count = engine.scorer
    return {
        "image_calls_per_image": count.image_calls // IMAGES,
        "image_crops_per_image": count.image_crops // IMAGES,
        "published_calls_per_image": 13 * REGIONS,
        "text_prompts": count.text_prompts,
    }


def extra_bytes(run: Callable[[], Any]) -> int:
    """Largest memory that numpy and Python held at once during a call, beyond that before it."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak - before


def measure(regions: int = REGIONS, beside_literal: bool = True) -> dict[str, Any]:
    """Time and memory of the part without networks, and the encoders' calls.

    Args:
        regions: Number of regions of the image of 1440 × 1920 pixels.
        beside_literal: Also run the published way, and compare.
    """
    masks, source = synthetic_regions(regions, SIZE), blocks(SIZE, CLASSES)
    ids = np.random.default_rng(1).integers(0, 66, regions)
    default = tuple(range(CLASSES))

    def vote() -> np.ndarray:
        votes = class_histogram(masks, source, CLASSES)
        majority(votes)
        return votes

    def paint() -> np.ndarray:
        return assemble(masks, ids, default_layer(source, default))

    def both() -> tuple:
        return vote(), paint()

    cpu = torch.device("cpu")
    result: dict[str, Any] = {
        "regions": regions,
        "runs": len(masks.starts),
        "cover": float(masks.area.sum() / source.size),
        "vote_seconds": seconds(vote, cpu, 3),
        "paint_seconds": seconds(paint, cpu, 3),
        "seconds": seconds(both, cpu, 3),
        "extra_bytes": extra_bytes(both),
        **encoder_calls(),
    }
    if beside_literal:
        found: list[tuple] = []
        base = default_layer(source, default)
        result["literal_seconds"] = seconds(
            lambda: found.append(literal(masks, source, ids, base)), cpu, 0
        )
        votes, painted = both()
        result["agree"] = bool(
            np.array_equal(votes, found[-1][0]) and np.array_equal(painted, found[-1][1])
        )
    return result


def main(arguments: list[str] | None = None) -> int:
    """The command ``tools/benchmark.py dynalign``; 1 where a limit is exceeded."""
    parser = Parser(f"{program()} dynalign", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--regions", type=int, default=REGIONS, help=f"per image ({REGIONS})")
    parser.add_argument("--no-literal", action="store_true", help="leave the published way out")
    parser.add_argument("--threads", type=worker_count, help="CPU threads")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to FILE")
    options = parser.parse_args(arguments)
    if options.threads:
        import cv2

        torch.set_num_threads(options.threads)
        cv2.setNumThreads(options.threads)
    result = measure(options.regions, not options.no_literal)
    result["threads"] = torch.get_num_threads()
    _show(result)
    if options.json:
        write_json(Path(options.json), result)
    held = result["seconds"] < TIME_LIMIT and result["extra_bytes"] < MEMORY_LIMIT
    return int(not (held and result.get("agree", True)))


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"DynAlign on the CPU, {result['threads']} threads: {result['regions']} "
                  f"regions ({result['runs']} runs, {result['cover']:.1f} × the image) at "
                  f"{SIZE[0]}x{SIZE[1]}")  # fmt: skip
    for column in ("", "here", "published way"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("majority votes", f"{result['vote_seconds']:.3f} s")
    table.add_row("owner map and label map", f"{result['paint_seconds']:.3f} s")
    there = f"{result['literal_seconds']:.2f} s" if "literal_seconds" in result else ""
    table.add_row("together", f"{result['seconds']:.3f} s (limit {TIME_LIMIT:.0f} s)", there)
    table.add_row("extra memory", f"{result['extra_bytes'] / 1e6:.0f} MB (limit "
                  f"{MEMORY_LIMIT / 1e6:.0f} MB)")  # fmt: skip
    if "agree" in result:
        table.add_row("same result", "yes" if result["agree"] else "NO")
    table.add_section()
    table.add_row("passes of the image encoder", f"{result['image_calls_per_image']} per image",
                  f"{result['published_calls_per_image']}")  # fmt: skip
    table.add_row("crops", f"{result['image_crops_per_image']} per image",
                  f"{result['published_calls_per_image']}")  # fmt: skip
    table.add_row(f"phrases, {IMAGES} images", f"{result['text_prompts']}")
    Console(width=110).print(table)
