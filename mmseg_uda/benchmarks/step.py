"""Measures a config's training step on random data: time per phase and peak memory."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from mmseg.structures import SegDataSample

from mmseg_uda.benchmarks.memory import PeakMemory
from mmseg_uda.benchmarks.step_timer import StepTimer
from mmseg_uda.benchmarks.timing import wait
from mmseg_uda.engine.checkpoint import checkpoint_bytes
from mmseg_uda.engine.runner import wrap_model
from mmseg_uda.errors import UserError
from mmseg_uda.models.adapters import ADAPTERS

MIT_CHANNELS = {"b0": [32, 64, 160, 256]} | {f"b{i}": [64, 128, 320, 512] for i in range(1, 6)}

#: Changes to a config by name, which ``--variants`` joins with ``+``.
VARIANTS: dict[str, dict[str, Any]] = {
    "fp32": {"execution.amp": None},
    "bf16": {"execution.amp": "bf16"},
    "fp16": {"execution.amp": "fp16"},
    "compile": {"execution.compile": True},
    "recompute": {"execution.recompute": ["backbone"]},
    "recompute-all": {"execution.recompute": ["backbone", "decode_head"]},
    "channels-last": {"execution.channels_last": True},
    "fused": {"optim_wrapper.optimizer.fused": True},
    "foreach": {"optim_wrapper.optimizer.foreach": True},
}
PRESETS = {"low-memory": "low_memory.py"}
#: What a plain vision transformer trains of itself: ``trainable`` and the type of its ``adapter``.
ENCODERS: dict[str, tuple[str, str | None]] = {
    "whole": ("all", None),
    "frozen": ("none", None),
    **{kind: ("adapters", kind) for kind in ADAPTERS},
}


@dataclass(frozen=True)
class StepCost:
    """What one training step costs.

    Attributes:
        seconds: Per step, mean over the measured steps.
        first_seconds: The first step of the warm-up, compilation included.
        phases: Seconds per step by phase; they sum up to ``seconds``, on a GPU nearly.
        peak_bytes: Peak memory of the measured steps: allocated on the GPU, or on a CPU what the
            process holds more than before the networks were built.
        optimizer: Its implementation: ``fused``, ``foreach`` or ``default``.
        trained: Parameters that the optimizer changes.
        checkpoint_bytes: Size of the training's checkpoint.
    """

    seconds: float
    first_seconds: float
    phases: dict[str, float]
    peak_bytes: int
    optimizer: str
    trained: int
    checkpoint_bytes: int


def apply_variant(cfg: Config, variant: str, presets: Path) -> Config:
    """A config in one of the ways to run it.

    Args:
        cfg: Config; it is not changed.
        variant: Names of :data:`VARIANTS`, :data:`PRESETS` and :data:`ENCODERS`, joined by ``+``.
        presets: Folder of the preset files, ``configs/_base_/execution``.

    Raises:
        UserError: For an unknown name, or one of :data:`ENCODERS` for an encoder of another kind.
    """
    cfg = Config(cfg.to_dict())
    for name in variant.split("+"):
        if name in PRESETS:
            cfg.merge_from_dict(Config.fromfile(presets / PRESETS[name]).to_dict())
        elif name in VARIANTS:
            cfg.merge_from_dict(VARIANTS[name])
        elif name in ENCODERS:
            _train_of_encoder(cfg.model.backbone, name)
        else:
            known = ", ".join([*VARIANTS, *PRESETS, *ENCODERS])
            raise UserError(
                f"--variants {variant!r}: there is no {name!r}.",
                fix=f"Join some of these by '+': {known}.",
            )
    return cfg


def _train_of_encoder(backbone: Any, name: str) -> None:
    """Changes what an encoder trains of itself; an adapter of that type keeps its options."""
    if backbone.type != "TimmViT":
        raise UserError(
            f"--variants {name!r} does not fit {backbone.type}: it is for TimmViT.",
            fix=f"Leave {name!r} out.",
        )
    backbone.trainable, kind = ENCODERS[name]
    own = backbone.get("adapter") or {}
    if own.get("type") != kind:
        backbone.adapter = None if kind is None else {"type": kind}


def scale_config(cfg: Config, crop: tuple[int, int] | None, encoder: str | None) -> Config:
    """Changes a paper config's crop and MiT encoder, for machines that are no data centre.

    HRDA's detail crop becomes half of the crop. Weights are left out: speed needs none.

    Raises:
        UserError: ``encoder`` is given and the config's is no MiT.
    """
    cfg = Config(cfg.to_dict())
    cfg.model.backbone.pop("init_cfg", None)
    if encoder is not None:
        if cfg.model.backbone.type != "MiT":
            raise UserError(
                f"--encoder {encoder} does not fit {cfg.model.backbone.type}.", fix="Leave it out."
            )
        cfg.model.backbone.variant = encoder
        cfg.model.decode_head.in_channels = MIT_CHANNELS[encoder]
    if crop is not None:
        cfg.model.data_preprocessor.size = crop
        if "hr_crop_size" in cfg.model:
            cfg.model.hr_crop_size = tuple(side // 2 for side in crop)
    return cfg


def crop_of(cfg: Config) -> tuple[int, int]:
    """Height and width of training crops."""
    return tuple(cfg.model.data_preprocessor.size)


def random_batch(crop: Sequence[int], batch_size: int, classes: int, with_target: bool) -> dict:
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


class TrainingStep:
    """What a config's training step is made of, with random weights and images.

    Args:
        cfg: Config with ``model``, ``uda``, ``optim_wrapper`` and perhaps ``execution``.
    """

    def __init__(self, cfg: Config) -> None:
        init_default_scope("mmseg")
        self.crop = crop_of(cfg)
        self.with_target = MODELS.get(cfg.uda.type).needs_target
        cfg = wrap_model(cfg)
        self._optimizer = cfg.optim_wrapper.to_dict()
        self.trainer = MODELS.build(cfg.model)
        self.trainer.init_weights()

    def on(self, device: torch.device | str, fused: bool = False) -> tuple[Any, Any]:
        """The trainer on a device, in training mode, and its optimizer wrapper.

        Args:
            device: Where to.
            fused: Ask for the optimizer's fused kernels, which are the default on a GPU.
        """
        trainer = self.trainer.to(device).train()
        config = copy.deepcopy(self._optimizer)
        if fused:
            config["optimizer"] = {"fused": True, **config["optimizer"]}
        return trainer, _optim_wrapper(config, trainer)

    def batch(self, batch_size: int) -> dict:
        """A collated batch with ``batch_size`` images per domain."""
        return random_batch(self.crop, batch_size, self.trainer.num_classes, self.with_target)


def measure(cfg: Config, batch_size: int, steps: int, warm_up: int, device: str) -> StepCost:
    """Builds a config's trainer and times its steps.

    Args:
        cfg: Config with ``model``, ``uda``, ``optim_wrapper`` and perhaps ``execution``.
        batch_size: Images per domain.
        steps: Measured steps.
        warm_up: Steps before them, at least 1.
        device: ``cpu`` or ``cuda``.
    """
    where = torch.device(device)
    torch.backends.cudnn.benchmark = bool(cfg.get("env_cfg", {}).get("cudnn_benchmark"))
    memory = PeakMemory(where)
    step = TrainingStep(cfg)
    trainer, optim_wrapper = step.on(where)
    batch = step.batch(batch_size)

    start = time.perf_counter()
    trainer.train_step(batch, optim_wrapper)
    wait(where)
    first = time.perf_counter() - start
    for _ in range(warm_up - 1):
        trainer.train_step(batch, optim_wrapper)
    wait(where)
    memory.restart()
    timer = StepTimer(trainer, optim_wrapper, where)
    start = time.perf_counter()
    for _ in range(steps):
        with timer.step():
            trainer.train_step(batch, optim_wrapper)
    wait(where)
    seconds = (time.perf_counter() - start) / steps
    return StepCost(
        seconds,
        first,
        {name: total / steps for name, total in timer.seconds.items()},
        memory.peak_bytes(),
        kernels(optim_wrapper.optimizer),
        sum(p.numel() for group in optim_wrapper.param_groups for p in group["params"]),
        checkpoint_bytes(trainer, optim_wrapper),
    )


def _optim_wrapper(config: dict, trainer: Any) -> Any:
    constructor = config.pop("constructor", "ReferenceNameConstructor")
    paramwise = config.pop("paramwise_cfg", None)
    return OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(type=constructor, optim_wrapper_cfg=config, paramwise_cfg=paramwise)
    )(trainer)


def kernels(optimizer: torch.optim.Optimizer) -> str:
    """Which implementation of an optimizer runs: ``fused``, ``foreach`` or ``default``."""
    chosen: Mapping[str, Any] = optimizer.defaults
    return next((name for name in ("fused", "foreach") if chosen.get(name)), "default")


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
