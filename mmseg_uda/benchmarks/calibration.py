"""What share of its data sheet's speed a GPU reaches in a training step."""

from __future__ import annotations

import torch
from mmengine.config import Config

from mmseg_uda.benchmarks.forecast import GPUS, countable, forecast
from mmseg_uda.benchmarks.step import measure
from mmseg_uda.errors import UserError


def measured_efficiency(cfg: Config, batch_size: int, steps: int = 5) -> float:
    """Measures a config's step on this GPU against the forecast at full efficiency.

    Args:
        cfg: Config, without what cannot be counted.
        batch_size: Images per domain.
        steps: Measured steps.

    Raises:
        UserError: There is no GPU, or none whose data sheet is known.
    """
    if not torch.cuda.is_available():
        raise UserError("--calibrate needs a GPU, and there is none.", fix="Leave it out.")
    name = torch.cuda.get_device_name()
    known = [gpu for gpu in GPUS.values() if gpu.called in name]
    if not known:
        raise UserError(
            f"The data sheet of the GPU {name} is not known here.",
            fix=f"Add it to GPUS in mmseg_uda/benchmarks/forecast.py; known are {', '.join(GPUS)}.",
        )
    cfg, _ = countable(cfg)
    expected = forecast(cfg, batch_size).seconds(known[0], efficiency=1.0)
    return expected / measure(cfg, batch_size, steps, 3, "cuda").seconds
