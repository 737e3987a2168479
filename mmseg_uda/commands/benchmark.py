"""Time the training step of configs, each run in one or several ways, and its peak memory.

    python tools/benchmark.py A.py B.py --encoder b0 --crop 256 256
    python tools/benchmark.py A.py --variants fp32 bf16 bf16+compile low-memory
    python tools/benchmark.py A.py --variants whole frozen lora soma rein   # of a TimmViT
    python tools/benchmark.py A.py --simulate   # waits for a GPU, without one
    python tools/benchmark.py A.py --forecast --batch 1 2 4   # without a GPU
    python tools/benchmark.py table --exp 90   # forecasts of a table's rows
    python tools/benchmark.py cdda --threads 2   # histogram and search, beside the plain formulas
    python tools/benchmark.py ssda --threads 2   # truncated CRF loss, beside unfolded windows
    python tools/benchmark.py srha --threads 2   # operations on regions, beside loops over them
    python tools/benchmark.py dynalign --threads 2   # votes and label map, beside full-size masks

Random data and random weights: nothing has to be downloaded. Every measurement has a process of
its own, so that its peak memory is its own; one that fails or runs out of time is shown as such.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from importlib import import_module
from pathlib import Path
from queue import Empty
from typing import Any

from mmseg_uda.calling import ROOT
from mmseg_uda.cfg_options import add_config_flag
from mmseg_uda.cli import Parser, positive, worker_count
from mmseg_uda.data_root import add_data_root_option, use_data_root
from mmseg_uda.errors import UserError
from mmseg_uda.files import write_json

METHODS = ("cdda", "ssda", "srha", "dynalign", "table")
PRESETS = ROOT / "configs" / "_base_" / "execution"


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("configs", nargs="+", help="config files to compare")
    parser.add_argument(
        "--variants",
        nargs="+",
        metavar="NAME",
        help="ways to run them, joined by '+': fp32 bf16 fp16 compile recompute recompute-all "
        "channels-last fused foreach low-memory; of a TimmViT: whole frozen lora soma rein "
        "(default: as the config says)",
    )
    parser.add_argument("--amp", choices=["bf16", "fp16"], help="the same as one variant")
    parser.add_argument(
        "--simulate",
        action="store_true",
        help="count how often the host would wait for a GPU in a step, on a simulated one",
    )
    parser.add_argument(
        "--forecast",
        action="store_true",
        help="operations, memory, hours, disk and downloads of the training, without a GPU or data",
    )
    parser.add_argument("--batch", type=positive, nargs="+", help="batch sizes to forecast")
    parser.add_argument("--gpus", type=positive, default=1, help="GPUs that train together")
    parser.add_argument("--execution", metavar="NAME", help="the same as one variant: low_memory")
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="measure on this GPU what share of its data sheet's speed a step reaches",
    )
    parser.add_argument("--steps", type=positive, default=5, help="measured steps")
    parser.add_argument("--warm-up", type=int, default=2, help="steps before them")
    parser.add_argument(
        "--batch-size", type=positive, help="images per domain (default: the config's)"
    )
    parser.add_argument("--crop", type=positive, nargs=2, metavar=("H", "W"), help="crop size")
    parser.add_argument("--encoder", choices=[f"b{i}" for i in range(6)], help="MiT variant")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda if there is one")
    parser.add_argument("--threads", type=worker_count, help="CPU threads")
    parser.add_argument(
        "--minutes", type=float, help="stop after this time; what is left out is said"
    )
    parser.add_argument(
        "--loader", type=int, default=0, metavar="N", help="also time N batches of the data loader"
    )
    add_data_root_option(parser)
    add_config_flag(parser)
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to FILE")
    return parser.parse_args()


def measure_one(args: argparse.Namespace, path: str, variant: str | None, results: Any) -> None:
    """Measures one config in one way and puts the numbers on the queue; in a process of its own."""
    use_data_root(args.data_root)
    import torch
    from mmengine.logging import MMLogger

    from mmseg_uda.benchmarks.step import crop_of, measure

    # Initialisation writes a paragraph per parameter; warnings (no compiler) shall be seen.
    MMLogger.get_instance("benchmark", log_level="WARNING")
    if args.threads:
        torch.set_num_threads(args.threads)
    cuda = torch.cuda.is_available() if args.device is None else args.device == "cuda"
    try:
        cfg, batch_size = read_config(args, path, variant)
        cost = measure(cfg, batch_size, args.steps, args.warm_up, "cuda" if cuda else "cpu")
    except UserError as error:
        results.put(dict(user_error=str(error)))
        return
    except Exception as error:  # such as out of memory: the other measurements go on
        text = str(error).strip().splitlines()
        results.put(dict(error=f"{type(error).__name__}: {text[0] if text else ''}"))
        return
    results.put(
        dict(
            seconds_per_step=cost.seconds,
            steps_per_second=1 / cost.seconds,
            first_step_seconds=cost.first_seconds,
            phases=cost.phases,
            peak_mib=cost.peak_bytes / 2**20,
            optimizer=cost.optimizer,
            trained=cost.trained,
            checkpoint_mib=cost.checkpoint_bytes / 2**20,
            batch_size=batch_size,
            crop=list(crop_of(cfg)),
            device=torch.cuda.get_device_name() if cuda else "cpu",
            threads=torch.get_num_threads(),
            torch=torch.__version__,
        )
    )


def read_config(args: argparse.Namespace, path: str, variant: str | None) -> tuple[Any, int]:
    """The config as the command line changes it, and the images per domain."""
    from mmseg_uda.benchmarks.step import apply_variant, scale_config
    from mmseg_uda.engine.config_file import load_config

    cfg = load_config(path, args.cfg_options)
    cfg = scale_config(cfg, tuple(args.crop) if args.crop else None, args.encoder)
    if variant is not None:
        cfg = apply_variant(cfg, variant, PRESETS)
    return cfg, args.batch_size or cfg.train_dataloader.batch_size


def simulate(args: argparse.Namespace, variants: list[str | None]) -> int:
    """Prints the host's waits per step; 1 if a config has more than its components declare."""
    from mmengine.logging import MMLogger

    from mmseg_uda.benchmarks.simulation import count_waits

    MMLogger.get_instance("benchmark", log_level="WARNING")
    over = False
    for variant in variants:
        for path in args.configs:
            waits = count_waits(*read_config(args, path, variant))
            name = f"{Path(path).stem} ({variant})" if variant else Path(path).stem
            print(
                f"{name}: the host waits {waits.count} times per step for the GPU "
                f"(declared: {waits.budget}); optimizer: {waits.optimizer}"
            )
            for place, count in waits.places.items():
                print(f"  {count} x {place}")
            over |= waits.count > waits.budget
    return int(over)


def tell_forecasts(args: argparse.Namespace, variants: list[str | None]) -> int:
    """Prints what the trainings will cost."""
    from mmengine.logging import MMLogger

    from mmseg_uda.benchmarks.calibration import measured_efficiency
    from mmseg_uda.benchmarks.forecast import EFFICIENCY
    from mmseg_uda.benchmarks.forecast_report import ALTERNATIVES, report
    from mmseg_uda.benchmarks.step import apply_variant
    from mmseg_uda.engine.config_file import load_config
    from mmseg_uda.experiments.disk import expected
    from mmseg_uda.experiments.downloads import download_lines

    MMLogger.get_instance("benchmark", log_level="WARNING")
    for variant in variants:
        for path in args.configs:
            cfg, batch_size = read_config(args, path, variant)
            print(f"{Path(path).stem}{f' ({variant})' if variant else ''}")
            efficiency = EFFICIENCY
            if args.calibrate:
                efficiency = measured_efficiency(cfg, batch_size)
                print(f"  measured efficiency: {efficiency:.2f}")
            for line in report(
                cfg,
                args.batch or [batch_size],
                args.gpus,
                lambda cfg, name: apply_variant(cfg, name, PRESETS),
                () if variant else ALTERNATIVES,
                efficiency,
            ):
                print(f"  {line}", flush=True)
            whole = load_config(path, args.cfg_options).to_dict()
            for line in (expected(whole).text(), *download_lines([whole])):
                print(f"  {line}")
    return 0


def measure_loader(args: argparse.Namespace, path: str, _: str | None, results: Any) -> None:
    """Measures a config's data loader; in a process of its own."""
    use_data_root(args.data_root)
    from mmseg_uda.benchmarks.step import loader_speed
    from mmseg_uda.engine.config_file import load_config

    try:
        speed = loader_speed(load_config(path, args.cfg_options), args.loader)
    except UserError as error:
        results.put(dict(user_error=str(error)))
        return
    results.put(dict(loader_images_per_second=speed))


def in_process(target: Any, args: argparse.Namespace, *rest: Any, deadline: float | None) -> dict:
    """Calls ``target(args, *rest, queue)`` in a new process; returns what it puts on the queue."""
    if deadline is not None and time.monotonic() > deadline:
        return dict(error="left out: the time is over")
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=target, args=(args, *rest, queue))
    start = time.monotonic()
    process.start()
    result = None
    while result is None:
        alive = process.is_alive()
        try:
            result = queue.get(timeout=0.2)
        except Empty:
            if not alive:
                result = dict(error=f"the process ended with status {process.exitcode}")
            elif deadline is not None and time.monotonic() > deadline:
                process.terminate()
                seconds = time.monotonic() - start
                result = dict(error=f"stopped after {seconds:.0f} s: the time is over")
    process.join()
    return result


def show(results: list[dict], title: str) -> None:
    """Prints one table: a column per measurement, a row per phase."""
    from rich.console import Console
    from rich.table import Table

    done = [result for result in results if "error" not in result]
    console = Console(width=max(100, 28 + 24 * len(results)), markup=False, emoji=False)
    if done:
        first = done[0]
        table = Table(
            title=f"{title}: training step on {first['device']}, {first['threads']} CPU threads, "
            f"{first['batch_size']} images per domain, {'x'.join(map(str, first['crop']))}"
        )
        table.add_column("")
        for result in done:
            table.add_column(result["name"], justify="right", overflow="fold")
        for phase in dict.fromkeys(name for result in done for name in result["phases"]):
            cells = [result["phases"].get(phase) for result in done]
            table.add_row(phase, *("–" if c is None else f"{c * 1000:.1f} ms" for c in cells))
        table.add_section()
        table.add_row("step", *(f"{r['seconds_per_step']:.3f} s" for r in done))
        table.add_row("steps per second", *(f"{r['steps_per_second']:.2f}" for r in done))
        table.add_row(
            "time, relative",
            *(f"{r['seconds_per_step'] / first['seconds_per_step']:.2f}" for r in done),
        )
        table.add_row("peak memory", *(f"{r['peak_mib']:.0f} MiB" for r in done))
        table.add_row(
            "memory, relative", *(f"{r['peak_mib'] / first['peak_mib']:.2f}" for r in done)
        )
        table.add_row("first step", *(f"{r['first_step_seconds']:.1f} s" for r in done))
        table.add_row("optimizer", *(r["optimizer"] for r in done))
        table.add_row("trained parameters", *(f"{r['trained'] / 1e6:.2f} M" for r in done))
        table.add_row("checkpoint", *(f"{r['checkpoint_mib']:.0f} MiB" for r in done))
        if any("loader_images_per_second" in result for result in done):
            speeds = [result.get("loader_images_per_second") for result in done]
            table.add_row("loader", *("–" if s is None else f"{s:.1f} img/s" for s in speeds))
        console.print(table)
    for result in results:
        if "error" in result:
            console.print(f"{result['name']}: {result['error']}", markup=False, soft_wrap=True)


def main() -> int:
    """Measures and prints."""
    if sys.argv[1:] and sys.argv[1] in METHODS:
        method = import_module(f"mmseg_uda.benchmarks.{sys.argv[1]}")
        return method.main(sys.argv[2:])
    from mmseg_uda.progress import track

    args = parse_args()
    deadline = None if args.minutes is None else time.monotonic() + 60 * args.minutes
    variants: list[str | None] = list(args.variants or [args.amp])
    if args.execution:
        variants = ["+".join(filter(None, (v, args.execution.replace("_", "-")))) for v in variants]
    if args.forecast or args.calibrate:
        return tell_forecasts(args, variants)
    if args.simulate:
        return simulate(args, variants)
    # The ways of the first kind for all configs come first, should the time not suffice.
    pairs = [(path, variant) for variant in variants for path in args.configs]
    results: list[dict] = []
    loaders: dict[str, dict] = {}
    for path, variant in track(pairs, "Measuring"):
        result = in_process(measure_one, args, path, variant, deadline=deadline)
        if args.loader and path not in loaders and "error" not in result:
            loaders[path] = in_process(measure_loader, args, path, None, deadline=deadline)
        result.update(loaders.get(path, {}) if "user_error" not in result else {})
        if "user_error" in result:
            print(f"Error: {result['user_error']}")
            return 2
        stem = Path(path).stem
        result.update(config=path, variant=variant, name=variant or stem)
        if len(args.configs) > 1 and len(variants) == 1:
            result["name"] = stem
        results.append(result)
        if args.json:
            write_json(Path(args.json), results)
    if len(variants) == 1:
        show(results, variants[0] or "As configured")
    else:
        for path in args.configs:
            show([r for r in results if r["config"] == path], Path(path).stem)
    return 1 if any("error" in result for result in results) else 0
