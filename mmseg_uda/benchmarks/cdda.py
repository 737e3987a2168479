"""How long histogram and search take, beside the formulas evaluated word by word.

python tools/benchmark.py cdda --threads 2
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_uda.benchmarks.memory import PeakMemory
from mmseg_uda.benchmarks.timing import seconds, wait
from mmseg_uda.calling import program
from mmseg_uda.cli import Parser, worker_count
from mmseg_uda.methods.cdda.histogram import BINS, depth_histogram
from mmseg_uda.methods.cdda.pruned_search import PrunedSearch
from mmseg_uda.methods.cdda.search import ResidentSearch

HISTOGRAM_LIMIT = 0.010  # seconds for a crop of 1024 x 1024 on two cores
SEARCH_LIMIT = 0.3  # seconds for GTA's 24 966 crops


def synthetic_bank(count: int, classes: int, pixels: int, seed: int = 0) -> Tensor:
    """(C, N, 256) whole numbers: half of the classes per crop, each in one bump of depths."""
    generator = torch.Generator().manual_seed(seed)
    bins = torch.arange(BINS, dtype=torch.float32)
    bank = torch.empty(classes, count, BINS)
    for c in range(classes):
        centre = torch.rand(count, 1, generator=generator) * BINS
        width = 4 + torch.rand(count, 1, generator=generator) * 40
        size = torch.rand(count, 1, generator=generator) ** 3 * pixels / 4
        size *= torch.rand(count, 1, generator=generator) < 0.5
        bump = torch.exp(-(((bins - centre) / width) ** 2))
        bank[c] = (bump / bump.sum(1, keepdim=True) * size).floor_()
    return bank


def literal_histogram(label: Tensor, depth: Tensor, classes: int) -> Tensor:
    """(C, 256) counts of one image, pixel by pixel in Python."""
    pairs = Counter(zip(label.flatten().tolist(), depth.flatten().tolist(), strict=True))
    counts = torch.zeros(classes, BINS)
    for (c, d), pixels in pairs.items():
        if c < classes:
            counts[c, int(d)] += pixels
    return counts


def literal_search(bank: Tensor, target: Tensor) -> tuple[int, float]:
    """Best entry and score of one image: every term for the whole bank, as it is written.

    Args:
        bank: (N, C, 256).
        target: (C, 256).
    """
    repeated = target.expand_as(bank).contiguous()
    shares = [(m / m.sum(-1, keepdim=True)).nan_to_num() for m in (bank, repeated)]
    cosine = F.cosine_similarity(*shares, dim=-1)
    distance = (bank - repeated).abs().sum(-1) / (bank.sum(-1) + repeated.sum(-1))
    present = target.sum(-1) > 0
    similarity = ((cosine + 1 - distance) / 2).nan_to_num() * present
    similarity[bank.sum(-1) == 0] = 0
    composition = F.cosine_similarity(bank.sum(-1), repeated.sum(-1), dim=-1)
    total = composition * similarity.sum(-1)
    best = int(total.argmax())
    return best, float(total[best] / present.sum())


def peak_bytes(run: Callable[[], Any], device: torch.device) -> int:
    """Memory that a call takes beyond what is taken before it."""
    before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
    peak = PeakMemory(device)
    run()
    wait(device)
    return max(0, peak.peak_bytes() - before)


def measure(
    count: int, classes: int, crop: tuple[int, int], batch: int, device: str, literal: bool = True
) -> dict[str, Any]:
    """Times of histogram and search of a batch, and whether they agree with the formulas.

    Args:
        count: Entries of the bank.
        classes: C.
        crop: Height and width in pixels.
        batch: Images per search.
        device: Where to run.
        literal: Whether to run the formulas, too.
    """
    where = torch.device(device)
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(0, classes, (batch, *crop), generator=generator).to(where)
    depth = (torch.rand(batch, *crop, generator=generator) * BINS).to(where)
    result: dict[str, Any] = {
        "histogram_seconds": seconds(
            lambda: depth_histogram(label[:1], depth[:1], classes), where, 10
        ),
    }
    bank = synthetic_bank(count, classes, crop[0] * crop[1])
    chosen = torch.randint(0, count, (batch,), generator=generator)
    noise = torch.randint(0, 20, (batch, classes, BINS), generator=generator)
    absent = torch.rand(batch, classes, 1, generator=generator) < 0.4
    target = (bank[:, chosen].transpose(0, 1) + noise) * ~absent
    resident = ResidentSearch(bank.to(where))
    target = target.to(where)
    result["bank_bytes"] = resident.counts.nbytes
    result["search_extra_bytes"] = peak_bytes(lambda: resident(target), where)
    result["search_seconds"] = seconds(lambda: resident(target), where, 5)
    match = resident(target)
    if where.type == "cpu":
        pruned = PrunedSearch(bank.numpy())
        result["pruned_seconds"] = seconds(lambda: pruned(target), where, 3)
        result["pruned_share_read"] = sum(pruned.read) / batch / count
        result["pruned_agrees"] = torch.equal(pruned(target).index, match.index)
    if literal:
        counts = depth_histogram(label[:1], depth[:1], classes)[0].float().cpu()
        found: list[Any] = []
        result["literal_histogram_seconds"] = seconds(
            lambda: found.append(literal_histogram(label[0].cpu(), depth[0].cpu(), classes)),
            where,
            0,
        )
        result["histograms_agree"] = torch.equal(found[-1], counts)
        entries = bank.transpose(0, 1).contiguous().to(where)
        del bank
        result["literal_search_seconds"] = seconds(
            lambda: found.append(literal_search(entries, target[0])), where, 1
        )
        index, score = found[-1]
        result["searches_agree"] = index == int(match.index[0])
        result["score_difference"] = abs(score - float(match.score[0]))
    return result


def main(arguments: list[str] | None = None) -> int:
    """The command ``tools/benchmark.py cdda``."""
    parser = Parser(f"{program()} cdda", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=24966, help="entries of the bank")
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--crop", type=int, nargs=2, default=(1024, 1024), metavar=("H", "W"))
    parser.add_argument("--batch-size", type=int, default=1, help="images per search")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda if there is one")
    parser.add_argument("--threads", type=worker_count, help="CPU threads")
    parser.add_argument("--no-literal", action="store_true", help="leave the formulas out")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to FILE")
    options = parser.parse_args(arguments)
    if options.threads:
        import cv2

        torch.set_num_threads(options.threads)
        cv2.setNumThreads(options.threads)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    crop = (options.crop[0], options.crop[1])
    result = measure(
        options.count, options.classes, crop, options.batch_size, device, not options.no_literal
    )
    result |= {"device": device, "threads": torch.get_num_threads(), "count": options.count}
    _show(result, options)
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1))
    return 0


def _show(result: dict[str, Any], options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    images = "1 image" if options.batch_size == 1 else f"{options.batch_size} images"
    height, width = options.crop
    table = Table(title=f"CDDA on {result['device']}, {result['threads']} CPU threads")
    for column in ("", "here", "formulas", "faster"):
        table.add_column(column, justify="left" if not column else "right")

    def row(name: str, ours: str, theirs: str | None = None, limit: float | None = None) -> None:
        mine, other = result.get(ours), result.get(theirs or "")
        if mine is None:
            return
        note = f" (limit {limit * 1000:.0f} ms)" if limit else ""
        cells = [f"{mine * 1000:.1f} ms{note}"]
        cells += [f"{other * 1000:.0f} ms", f"{other / mine:.0f} ×"] if other else ["", ""]
        table.add_row(name, *cells)

    row(f"histogram, {height}x{width}", "histogram_seconds", "literal_histogram_seconds",
        HISTOGRAM_LIMIT)  # fmt: skip
    row(f"search, {images} in {options.count}", "search_seconds", "literal_search_seconds",
        SEARCH_LIMIT)  # fmt: skip
    row("the same, pruned", "pruned_seconds")
    table.add_section()
    table.add_row("bank", f"{result['bank_bytes'] / 2**20:.0f} MiB", "", "")
    if result["search_extra_bytes"] is not None:
        table.add_row("search beyond it", f"{result['search_extra_bytes'] / 2**20:.0f} MiB", "", "")
    if "pruned_share_read" in result:
        table.add_row("entries read, pruned", f"{100 * result['pruned_share_read']:.1f} %", "", "")
    if "searches_agree" in result:
        same = result["searches_agree"] and result["histograms_agree"]
        table.add_row("same result", "", "yes" if same else "NO", "")
    Console(width=100).print(table)
