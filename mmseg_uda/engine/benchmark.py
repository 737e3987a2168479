"""Measures a config's training step on random data: time per phase and peak memory."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from mmseg.structures import SegDataSample

from mmseg_uda.engine.runner import wrap_model
from mmseg_uda.engine.step_timer import StepTimer

MIT_CHANNELS = {"b0": [32, 64, 160, 256]} | {f"b{i}": [64, 128, 320, 512] for i in range(1, 6)}


@dataclass(frozen=True)
class StepCost:
    """What one training step costs.

    Attributes:
        seconds: Per step, mean over the measured steps.
        phases: Seconds per step by phase; they sum up to ``seconds``.
        peak_bytes: Peak memory: allocated on the GPU, or the process' resident size on a CPU.
    """

    seconds: float
    phases: dict[str, float]
    peak_bytes: int


def scale_config(cfg: Config, crop: tuple[int, int] | None, encoder: str | None) -> Config:
    """Change a paper config's crop and MiT encoder, for machines that are no data centre.

    HRDA's detail crop becomes half of the crop. Weights are left out: speed needs none.
    """
    cfg = cfg.copy()
    cfg.model.backbone.pop("init_cfg", None)
    if encoder is not None:
        cfg.model.backbone.variant = encoder
        cfg.model.decode_head.in_channels = MIT_CHANNELS[encoder]
    if crop is not None:
        cfg.crop_size = crop
        if "hr_crop_size" in cfg.model:
            cfg.model.hr_crop_size = tuple(side // 2 for side in crop)
        for owner in (cfg, cfg.model):
            if "data_preprocessor" in owner:
                owner.data_preprocessor.size = crop
    return cfg


def random_batch(crop: tuple[int, int], batch_size: int, classes: int, with_target: bool) -> dict:
    """A collated batch of noise with labels in blocks of 32 pixels."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = (side // 32 + 1 for side in crop)

    def part() -> dict[str, Any]:
        inputs, samples = [], []
        for index in range(batch_size):
            inputs.append(torch.randint(0, 256, (3, *crop), generator=generator).byte())
            cells = torch.randint(0, classes, (rows, columns), generator=generator)
            label = cells.repeat_interleave(32, 0).repeat_interleave(32, 1)
            sample = SegDataSample(metainfo=dict(img_path=f"noise_{index}"))
            sample.gt_sem_seg = PixelData(data=label[None, : crop[0], : crop[1]])
            samples.append(sample)
        return dict(inputs=inputs, data_samples=samples)

    return dict(source=part(), target=part()) if with_target else dict(source=part())


def measure(cfg: Config, batch_size: int, steps: int, warm_up: int, device: str) -> StepCost:
    """Build a config's trainer and time its steps.

    Args:
        cfg: Config with ``model``, ``uda`` and ``optim_wrapper``.
        batch_size: Images per domain.
        steps: Measured steps.
        warm_up: Steps before them.
        device: ``cpu`` or ``cuda``.
    """
    init_default_scope("mmseg")
    crop = tuple(cfg.crop_size)
    where = torch.device(device)
    with_target = cfg.uda.type != "Supervised"
    trainer = MODELS.build(wrap_model(cfg).model)
    trainer.init_weights()
    trainer = trainer.to(where).train()
    wrapper_cfg = cfg.optim_wrapper.to_dict()
    constructor = wrapper_cfg.pop("constructor", "ReferenceNameConstructor")
    paramwise = wrapper_cfg.pop("paramwise_cfg", None)
    optim_wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(type=constructor, optim_wrapper_cfg=wrapper_cfg, paramwise_cfg=paramwise)
    )(trainer)
    batch = random_batch(crop, batch_size, trainer.num_classes, with_target)
    for _ in range(warm_up):
        trainer.train_step(batch, optim_wrapper)
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    timer = StepTimer(trainer, optim_wrapper, where)
    start = time.perf_counter()
    for _ in range(steps):
        with timer.step():
            trainer.train_step(batch, optim_wrapper)
    seconds = (time.perf_counter() - start) / steps
    if where.type == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    phases = {name: total / steps for name, total in timer.seconds.items()}
    return StepCost(seconds, phases, peak)


def loader_speed(cfg: Config, batches: int) -> float:
    """Images per second (source and target) that the config's training loader delivers."""
    from mmengine.runner import Runner

    init_default_scope("mmseg")
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    iterator = iter(loader)
    count = 0
    next(iterator)
    start = time.perf_counter()
    for _ in range(batches):
        count += sum(len(part["inputs"]) for part in next(iterator).values())
    return count / (time.perf_counter() - start)
