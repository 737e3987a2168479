"""Time the training step of one config, or compare several in one run.

    python tools/benchmark.py configs/daformer/A.py configs/mic/B.py --encoder b0 --crop 256 256

Random data: no data set and no weights are needed. Each config runs in a process of its own, so
that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from pathlib import Path

from mmseg_uda.cli import DATA_ROOT_VARIABLE, run_tool


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("configs", nargs="+", help="config files to compare")
    parser.add_argument("--steps", type=int, default=5, help="measured steps")
    parser.add_argument("--warm-up", type=int, default=2, help="steps before them")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--crop", type=int, nargs=2, metavar=("H", "W"), help="crop size")
    parser.add_argument("--encoder", choices=[f"b{i}" for i in range(6)], help="MiT variant")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda if there is one")
    parser.add_argument("--amp", choices=["bf16", "fp16"])
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument(
        "--loader", type=int, default=0, metavar="N", help="also time N batches of the data loader"
    )
    parser.add_argument(
        "--data-root", help=f"folder of the data sets (also: ${DATA_ROOT_VARIABLE})"
    )
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to FILE")
    return parser.parse_args()


def measure_one(args: argparse.Namespace, path: str, results) -> None:
    """Measure one config and put the numbers on the queue."""
    import os

    if args.data_root:
        os.environ[DATA_ROOT_VARIABLE] = args.data_root
    import torch
    from mmengine.logging import MMLogger

    from mmseg_uda.engine.benchmark import loader_speed, measure, scale_config
    from mmseg_uda.engine.config_file import load_config
    from mmseg_uda.errors import UserError

    # Initialisation writes a paragraph per parameter.
    MMLogger.get_instance("benchmark", log_level="ERROR")
    if args.threads:
        torch.set_num_threads(args.threads)
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        original = load_config(path, args.cfg_options)
        cfg = scale_config(original, tuple(args.crop) if args.crop else None, args.encoder)
        if args.amp:
            cfg.optim_wrapper.amp = args.amp
        cost = measure(cfg, args.batch_size, args.steps, args.warm_up, device)
        speed = loader_speed(original, args.loader) if args.loader else None
    except UserError as error:
        results.put(str(error))
        return
    results.put(
        dict(
            config=path,
            seconds_per_step=cost.seconds,
            phases=cost.phases,
            peak_mib=cost.peak_bytes / 2**20,
            loader_images_per_second=speed,
            device=device,
            threads=torch.get_num_threads(),
        )
    )


def show(results: list[dict]) -> None:
    """Print one table: a column per config, a row per phase."""
    from rich.console import Console
    from rich.table import Table

    first = results[0]
    table = Table(title=f"Training step on {first['device']}, {first['threads']} CPU threads")
    table.add_column("")
    for result in results:
        table.add_column(Path(result["config"]).stem, justify="right", overflow="fold")
    phases = dict.fromkeys(name for result in results for name in result["phases"])
    for phase in phases:
        cells = [result["phases"].get(phase) for result in results]
        table.add_row(phase, *("–" if c is None else f"{c * 1000:.1f} ms" for c in cells))
    table.add_section()
    table.add_row("step", *(f"{r['seconds_per_step']:.3f} s" for r in results))
    table.add_row(
        "relative", *(f"{r['seconds_per_step'] / first['seconds_per_step']:.2f}" for r in results)
    )
    table.add_row("peak memory", *(f"{r['peak_mib']:.0f} MiB" for r in results))
    if first["loader_images_per_second"] is not None:
        table.add_row("loader", *(f"{r['loader_images_per_second']:.1f} img/s" for r in results))
    Console(width=max(100, 34 + 36 * len(results))).print(table)


def main() -> int:
    """Measure and print."""
    args = parse_args()
    context = multiprocessing.get_context("spawn")
    results = []
    for path in args.configs:
        queue = context.Queue()
        process = context.Process(target=measure_one, args=(args, path, queue))
        process.start()
        while process.is_alive() and queue.empty():
            process.join(0.1)
        if queue.empty():
            print(f"Measuring {path} failed; the reason stands above.")
            return 1
        result = queue.get()
        process.join()
        if isinstance(result, str):
            print(f"Error: {result}")
            return 2
        results.append(result)
    show(results)
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    run_tool(main)
