"""Time and memory of the truncated CRF loss beside the formulation with unfolded windows.

python tools/benchmark.py ssda --threads 2

Forward and backward pass on random probabilities, 2 x 19 x 256 x 256 by default. Each formulation
has a process of its own, so that its peak memory is its own; values and gradients are compared.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_uda.benchmarks.memory import PeakMemory
from mmseg_uda.benchmarks.timing import wait
from mmseg_uda.calling import program
from mmseg_uda.cli import Parser, worker_count
from mmseg_uda.files import write_json
from mmseg_uda.methods.ssda.crf import Kernel, truncated_crf_loss

FASTER, SMALLER = 8, 10  # what the slices must win by at 2 x 19 x 256 x 256 on two cores
SLICES, UNFOLD = "slices", "unfold"
SIGMA_XY, SIGMA_RGB = 3.0, 0.1


def unfolded_loss(
    probability: Tensor, image: Tensor, source: Tensor, destination: Tensor, radius: int
) -> Tensor:
    """The truncated CRF loss as the gated CRF was published: one copy of all per neighbour.

    Args:
        probability: (N, C, h, w).
        image: (N, 3, h, w).
        source: (N, h, w) of 0 and 1.
        destination: (N, h, w) of 0 and 1.
        radius: R of the window.
    """
    width = 2 * radius + 1

    def windows(values: Tensor) -> Tensor:
        """(N, D, (2R + 1)², h, w), 0 outside the image."""
        batch, channels, *size = values.shape
        return F.unfold(values, width, padding=radius).view(batch, channels, width**2, *size)

    batch, _, *size = probability.shape
    rows, columns = torch.meshgrid(*(torch.arange(n, device=image.device) for n in size))
    position = torch.stack([rows, columns]).to(image).expand(batch, -1, -1, -1)
    features = torch.cat([position / SIGMA_XY, image / SIGMA_RGB], dim=1)
    distance = (windows(features) - features[:, :, None]).square().sum(dim=1)
    affinity = torch.exp(-distance / 2)
    affinity[:, width**2 // 2] = 0
    gated = affinity * windows(source[:, None])[:, 0] * destination[:, None]
    agreement = (windows(probability) * probability[:, :, None]).sum(dim=1)
    return (gated * (1 - agreement)).sum() / destination.sum().clamp(min=1)


def measure(name: str, args: argparse.Namespace, results: Any) -> None:
    """Measures one formulation; in a process of its own."""
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    generator = torch.Generator().manual_seed(0)
    batch, classes, height, width = args.shape
    logits = torch.randn(batch, classes, height, width, generator=generator)
    image = (torch.rand(batch, 3, height, width, generator=generator) * 0.3).to(device)
    seeds = (torch.rand(batch, height, width, generator=generator) > 0.5).float().to(device)
    probability = logits.softmax(dim=1).to(device).requires_grad_()
    kernel = Kernel({"xy": SIGMA_XY, "rgb": SIGMA_RGB})

    def run(*inputs: Tensor) -> tuple[float, Tensor]:
        p, rgb, gate = inputs
        if name == UNFOLD:
            loss = unfolded_loss(p, rgb, gate, 1 - gate, args.radius)
        else:
            options = {"kernels": (kernel,), "radius": args.radius}
            loss = truncated_crf_loss(p, {"rgb": rgb}, gate, 1 - gate, **options)
        (gradient,) = torch.autograd.grad(loss, p)
        return loss.item(), gradient

    # Libraries load on first use; a small case does that.
    run(probability[..., :16, :16], image[..., :16, :16], seeds[..., :16, :16])
    peak = PeakMemory(device)
    seconds = []
    for _ in range(args.repeats):
        start = time.perf_counter()
        value, gradient = run(probability, image, seeds)
        wait(device)
        seconds.append(time.perf_counter() - start)
    memory = peak.peak_bytes()
    if device.type == "cuda":
        memory -= sum(x.numel() * x.element_size() for x in (probability, image, seeds))
    sample = gradient.flatten()[:: max(gradient.numel() // 1000, 1)].tolist()
    results.put(
        dict(
            name=name,
            seconds=min(seconds),
            peak_mib=memory / 2**20,
            loss=value,
            gradient=sample,
            device=str(device),
            threads=torch.get_num_threads(),
        )
    )


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(f"{program()} ssda", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--shape", type=int, nargs=4, metavar=("N", "C", "H", "W"), default=[2, 19, 256, 256]
    )
    parser.add_argument("--radius", type=int, default=5, help="of the window, in cells")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    parser.add_argument("--threads", type=worker_count, help="CPU threads")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda if there is one")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to FILE")
    return parser.parse_args(arguments)


def show(slices: dict, unfold: dict, args: argparse.Namespace) -> None:
    """Prints the comparison; the wins that are asked for stand in the last column."""
    from rich.console import Console
    from rich.table import Table

    shape = " x ".join(map(str, args.shape))
    table = Table(
        title=f"Truncated CRF loss, forward and backward, {shape}, R = {args.radius}, "
        f"{slices['device']}, {slices['threads']} CPU threads"
    )
    for heading in ("", "unfolded windows", "shifted slices", "ratio", "asked for"):
        table.add_column(heading, justify="right" if heading else "left")
    for label, key, unit, least in (
        ("time", "seconds", "s", FASTER),
        ("peak memory", "peak_mib", "MiB", SMALLER),
    ):
        pair = [result[key] for result in (unfold, slices)]
        cells = [f"{value:.3f} {unit}" for value in pair]
        table.add_row(label, *cells, f"{pair[0] / max(pair[1], 1e-9):.1f}", f"{least}")
    table.add_row("loss", f"{unfold['loss']:.6f}", f"{slices['loss']:.6f}", "", "")
    Console(width=100).print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``tools/benchmark.py ssda``."""
    args = parse_args(arguments)
    context = multiprocessing.get_context("spawn")
    found: dict[str, dict] = {}
    for name in (SLICES, UNFOLD):
        queue = context.Queue()
        process = context.Process(target=measure, args=(name, args, queue))
        process.start()
        while process.is_alive() and queue.empty():
            process.join(0.1)
        if queue.empty():
            print(f"The {name} formulation ended with status {process.exitcode}.")
            return 1
        found[name] = queue.get()
        process.join()
    gradients = [found[name].pop("gradient") for name in (SLICES, UNFOLD)]
    largest = max(abs(value) for value in gradients[1])
    difference = max(abs(a - b) for a, b in zip(*gradients, strict=True))
    show(found[SLICES], found[UNFOLD], args)
    print(f"Largest difference of the gradients: {difference / largest:.1e} of the largest entry.")
    if args.json:
        write_json(Path(args.json), {**found, "gradient_difference": difference / largest})
    return 0
