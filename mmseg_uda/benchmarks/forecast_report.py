"""Tells what a training will cost, in lines for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mmengine.config import Config

from mmseg_uda.benchmarks.forecast import (
    EFFICIENCY,
    GIB,
    GPUS,
    Forecast,
    countable,
    forecast,
    largest_batch,
)

#: Ways to run that are compared with the config's own.
ALTERNATIVES = ("bf16", "recompute", "low-memory")


def report(
    cfg: Config,
    batches: Sequence[int],
    processes: int,
    vary: Callable[[Config, str], Config],
    alternatives: Sequence[str] = ALTERNATIVES,
    efficiency: float = EFFICIENCY,
) -> Iterator[str]:
    """Lines about a config's training.

    Args:
        cfg: The config.
        batches: Images per domain and process to count; the last one is compared in other ways.
        processes: GPUs that train together.
        vary: Changes a config to another way to run, by its name.
        alternatives: Names of such ways.
        efficiency: Share of a GPU's roofline that is reached.
    """
    cfg, left_out = countable(cfg)
    found = {batch: forecast(cfg, batch) for batch in sorted(batches)}
    steps = cfg.train_cfg.max_iters
    one = found[max(found)]
    yield (
        f"{one.trained / 1e6:.1f} M parameters are trained, {one.frozen / 1e6:.1f} M are not; "
        f"{steps} steps, checkpoints of {_gib(one.checkpoint)}"
    )
    if left_out:
        yield f"Not counted: {', '.join(left_out)}"
    for batch, cost in found.items():
        yield f"{batch} images: {_cost(cost)}"
        yield "  " + ", ".join(f"{k} {_gib(v)}" for k, v in cost.kinds.items() if v)
    yield "By phase, with the most that is held in it:"
    for phase, flops in one.flops.items():
        if flops:
            yield f"  {phase}: {flops / 1e12:.2f} TFLOP, {_gib(one.phase_peaks.get(phase, 0))}"
    peaks = {batch: cost.peak for batch, cost in found.items()}
    if len(peaks) > 1:
        memories = sorted({gpu.memory for gpu in GPUS.values()})
        fits = (f"{largest_batch(peaks, memory)} in {memory} GiB" for memory in memories)
        yield f"Images that fit: {', '.join(fits)}"
    yield f"Hours with {max(found)} images: {_hours(one, steps, processes, efficiency)}"
    if efficiency == EFFICIENCY:
        yield f"  (efficiency {efficiency:g} is assumed: expect half to twice as many hours;"
        yield "  --calibrate measures it on a GPU)"
    for name in alternatives:
        other = forecast(vary(cfg, name), max(found))
        yield f"With {name}: {_cost(other)}; {_hours(other, steps, processes, efficiency)}"


def _gib(count: float) -> str:
    return f"{count / GIB:.2f} GiB"


def _cost(cost: Forecast) -> str:
    return f"{_gib(cost.peak)} at the most, {cost.total_flops / 1e12:.2f} TFLOP per step"


def _hours(cost: Forecast, steps: int, processes: int, efficiency: float) -> str:
    texts = []
    for name, gpu in GPUS.items():
        if cost.peak > (gpu.memory - 0.5) * GIB:
            texts.append(f"{name}: too small")
            continue
        hours = cost.seconds(gpu, efficiency) * steps / 3600
        total = f" ({processes} GPUs: {hours * processes:.0f} GPU hours)" if processes > 1 else ""
        texts.append(f"{name}: {hours:.1f}{total}")
    return ", ".join(texts)
