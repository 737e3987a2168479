"""What only a GPU can show: the forecast of memory is what its allocator hands out."""

import gc

import pytest
import torch

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.benchmarks.forecast import forecast
from mmseg_uda.benchmarks.step import TrainingStep, scale_config
from mmseg_uda.engine.config_file import load_config

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CONFIGS = ["configs/daformer/gta2cs_daformer.py", "configs/hrda/gtaHR2csHR_hrda.py"]


def allocated(cfg, batch_size):
    """The most bytes of a step beyond what was held before, scratch space of libraries included."""
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    step = TrainingStep(cfg)
    trainer, wrapper = step.on("cuda")
    batch = step.batch(batch_size)
    for _ in range(2):  # the optimizer makes its state, and kernels are chosen
        trainer.train_step(batch, wrapper)
    torch.cuda.reset_peak_memory_stats()
    trainer.train_step(batch, wrapper)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


@pytest.mark.parametrize("path", CONFIGS)
@pytest.mark.parametrize("amp", [None, "bf16"])
def test_the_peak_is_what_the_gpu_holds(path, amp):
    # large enough that the scratch space of cuBLAS, some 30 MiB, does not count
    cfg = scale_config(load_config(path), (512, 512), "b0")
    cfg.execution = {**(cfg.get("execution") or {}), "amp": amp}
    # in every step: they decide which of two steps takes more
    cfg.uda.update(jitter_probability=1.0, blur_probability=1.0)
    assert forecast(cfg, 2).peak == pytest.approx(allocated(cfg, 2), rel=0.1)
