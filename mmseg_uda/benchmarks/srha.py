"""Time of SRHA's region operations beside loops over the regions.

python tools/benchmark.py srha --threads 2

Rearrangement of the stem's maps and regional alignment on the four stages, forward and backward
pass, at the sizes of ResNet-50 on crops of 768 x 768. Both ways take turns in one process, so that
the load of the machine meets both, and their results are compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mmseg_uda.benchmarks.timing import wait
from mmseg_uda.calling import program
from mmseg_uda.cli import Parser, worker_count
from mmseg_uda.files import write_json
from mmseg_uda.methods.srha.alignment import regional_distance
from mmseg_uda.methods.srha.rearrangement import EPS, dirichlet_weights, rearrange
from mmseg_uda.methods.srha.regions import RegionsBySize, find_regions
from mmseg_uda.models.views import resize_nearest

FASTER = 5  # what the loops must be slower by at batch 4, 192 x 192 and 12 regions on two cores
STAGES = ((256, 1), (512, 2), (1024, 4), (2048, 4))  # channels, stem pixels per pixel: ResNet-50


def loop_rearrange(h: Tensor, label: Tensor, weights: Tensor) -> Tensor:
    """:func:`rearrange`, image by image and region by region; labels are all classes."""
    result = h.clone()
    for b, small in enumerate(resize_nearest(label, h.shape[-2:])):
        ids = small.unique()
        masks = [small == r for r in ids]
        regions = [h[b][:, mask] for mask in masks]
        mean = torch.stack([x.mean(dim=1) for x in regions])
        std = torch.stack([x.std(dim=1, correction=0) for x in regions]) + EPS
        for i, (mask, x) in enumerate(zip(masks, regions, strict=True)):
            mix = weights[b, ids[i], ids][:, None]
            new_mean, new_std = (mix * mean).sum(dim=0), (mix * std).sum(dim=0)
            x = (x - mean[i][:, None]) / std[i][:, None]
            result[b][:, mask] = x * new_std[:, None] + new_mean[:, None]
    return result


def loop_regional(student: Tensor, reference: Tensor, label: Tensor) -> Tensor:
    """:func:`regional_distance`, sample by sample and region by region."""
    small = resize_nearest(label, student.shape[-2:])
    entries = []
    for i, maps in enumerate(student):
        ids, theirs = small[i % len(small)], reference[i % len(small)]
        for r in ids.unique():
            mask = ids == r
            difference = maps[:, mask].mean(dim=1) - theirs[:, mask].mean(dim=1)
            entries.append(mask.float().mean() * difference.square().mean())
    return torch.stack(entries).mean()


def _operands(args: argparse.Namespace, device: torch.device) -> tuple:
    random = torch.Generator().manual_seed(0)
    batch, side = args.batch_size, args.side
    cells = torch.randint(0, args.regions, (batch, 16, 16), generator=random)
    cells.view(batch, -1)[:, : args.regions] = torch.arange(args.regions)  # all in every image
    label = resize_nearest(cells.to(device), (4 * side, 4 * side))
    h = torch.randn(batch, args.channels, side, side, generator=random).to(device)
    student, reference = [], []
    for channels, stride in args.stages:
        size = (channels, side // stride, side // stride)
        reference.append(torch.randn(batch, *size, generator=random).to(device))
        student.append(torch.randn(2 * batch, *size, generator=random).to(device))
    present = find_regions(label, (side, side), args.classes).present
    weights = dirichlet_weights(present, generator=random)
    return h, label, weights, [x.requires_grad_() for x in student], reference


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Seconds of both ways, the fastest of the repeats, and how far their results differ."""
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    h, label, weights, student, reference = _operands(args, device)

    def bins() -> tuple[Tensor, Tensor]:
        regions = RegionsBySize(label, args.classes)
        styled = rearrange(h, regions.of(h), weights)
        pairs = zip(student, reference, strict=True)
        return styled, sum_of([regional_distance(s, t, regions.of(s)) for s, t in pairs])

    def loops() -> tuple[Tensor, Tensor]:
        styled = loop_rearrange(h, label, weights)
        pairs = zip(student, reference, strict=True)
        return styled, sum_of([loop_regional(s, t, label) for s, t in pairs])

    def sum_of(values: list[Tensor]) -> Tensor:
        return torch.stack(values).sum()

    def timed(run: Callable[[], tuple[Tensor, Tensor]]) -> tuple[float, Tensor, Tensor, Tensor]:
        wait(device)
        start = time.perf_counter()
        styled, loss = run()
        gradients = torch.autograd.grad(loss, student)
        wait(device)
        seconds = time.perf_counter() - start
        some = torch.cat([g.flatten()[:: max(g.numel() // 1000, 1)] for g in gradients])
        return seconds, styled, loss.detach(), some

    found: dict[str, float] = {}
    ours, theirs = timed(bins), timed(loops)
    for _ in range(args.repeats - 1):
        ours = min(ours, timed(bins), key=lambda result: result[0])
        theirs = min(theirs, timed(loops), key=lambda result: result[0])
    found["bins"], found["loops"] = ours[0], theirs[0]
    found["ratio"] = theirs[0] / ours[0]
    found["largest_difference"] = (ours[1] - theirs[1]).abs().max().item()
    found["loss_difference"] = abs(ours[2] / theirs[2] - 1).item()
    found["gradient_difference"] = ((ours[3] - theirs[3]).norm() / theirs[3].norm()).item()
    return found


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(f"{program()} srha", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=4, help="images, without their copies")
    parser.add_argument("--side", type=int, default=192, help="of the stem's maps")
    parser.add_argument("--channels", type=int, default=64, help="of the stem's maps")
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--regions", type=int, default=12, help="classes in every image")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the stages' channels")
    parser.add_argument("--repeats", type=int, default=2, help="the fastest counts")
    parser.add_argument("--threads", type=worker_count, help="CPU threads")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda if there is one")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to FILE")
    args = parser.parse_args(arguments)
    if args.regions > args.classes:
        parser.error(f"--regions {args.regions} exceeds --classes {args.classes}")
    args.stages = [(max(round(c * args.scale), 1), stride) for c, stride in STAGES]
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``tools/benchmark.py srha``."""
    from rich.console import Console
    from rich.table import Table

    args = parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    found = measure(args)
    table = Table(
        title=f"Rearrangement and regional alignment, forward and backward, batch "
        f"{args.batch_size}, {args.side} x {args.side}, {args.regions} regions, "
        f"{torch.get_num_threads()} CPU threads"
    )
    for heading in ("", "loop over regions", "bins", "ratio", "asked for"):
        table.add_column(heading, justify="right" if heading else "left")
    loops, bins = (f"{found[name]:.3f} s" for name in ("loops", "bins"))
    table.add_row("time", loops, bins, f"{found['ratio']:.1f}", str(FASTER))
    console = Console(width=100)
    console.print(table)
    console.print(
        f"Largest differences: {found['largest_difference']:.1e} in the maps; relative, "
        f"{found['loss_difference']:.1e} in the loss, {found['gradient_difference']:.1e} in the "
        "gradients."
    )
    if args.json:
        write_json(Path(args.json), found)
    return 0
