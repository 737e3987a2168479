"""What a training will cost: operations, memory and hours, before anything is downloaded or run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmseg_uda.benchmarks.meter import Operation, StepMeter
from mmseg_uda.benchmarks.step import TrainingStep
from mmseg_uda.benchmarks.step_timer import StepTimer
from mmseg_uda.costs import UNCOUNTED

GIB = 2**30


@dataclass(frozen=True)
class Gpu:
    """A GPU, by its data sheet.

    Attributes:
        memory: GiB.
        fp32: TFLOP/s of matrix products in float32.
        tf32: Of convolutions in float32, which torch rounds to TF32 where the GPU has it.
        half: In bf16, where the GPU has it, else fp16, accumulated in float32.
        bandwidth: GB/s of its memory.
        called: A part of the name that CUDA has for it.
    """

    memory: int
    fp32: float
    tf32: float
    half: float
    bandwidth: float
    called: str


#: Dense peaks of the vendor's data sheets.
GPUS: dict[str, Gpu] = {
    "RTX 2080 Ti": Gpu(11, 13.4, 13.4, 53.8, 616, "RTX 2080 Ti"),
    "RTX 3090": Gpu(24, 35.6, 35.6, 71, 936, "RTX 3090"),
    "RTX 4090": Gpu(24, 82.6, 82.6, 165, 1008, "RTX 4090"),
    "RTX A6000": Gpu(48, 38.7, 77.4, 155, 768, "RTX A6000"),
    "A100 80GB": Gpu(80, 19.5, 156, 312, 2039, "A100"),
    "H100 SXM": Gpu(80, 67, 495, 989, 3350, "H100"),
}
#: Share of the roofline that a step reaches. Assumed, not measured: half to twice the hours that
#: follow from it are to be expected until ``--calibrate`` has measured it on the GPU at hand.
EFFICIENCY = 0.5
#: Seconds that the host needs to launch an operation.
LAUNCH = 5e-6


@dataclass(frozen=True)
class Forecast:
    """What one training step costs.

    Attributes:
        trained: Parameters that the optimizer changes.
        frozen: All other parameters: teachers, ImageNet networks, frozen parts.
        flops: Floating-point operations of a step, by phase.
        peak: The most bytes held at a time; a GPU needs about 0.5 GiB more for itself.
        phase_peaks: The same, by phase.
        kinds: Bytes at the peak: ``weights``, ``gradients``, ``optimizer``, ``teacher``,
            ``frozen`` and, for the rest, ``activations``.
        checkpoint: Bytes of one checkpoint.
        operations: Of a step.
        half: Whether networks run in half precision.
    """

    trained: int
    frozen: int
    flops: dict[str, int]
    peak: int
    phase_peaks: dict[str, int]
    kinds: dict[str, int]
    checkpoint: int
    operations: Sequence[Operation]
    half: bool

    @property
    def total_flops(self) -> int:
        """Of a step."""
        return sum(self.flops.values())

    def seconds(self, gpu: Gpu, efficiency: float = EFFICIENCY) -> float:
        """Seconds of a step: what takes longest of computing, moving and launching, added up."""
        total = 0.0
        for operation in self.operations:
            peak = gpu.half if self.half else gpu.tf32 if operation.convolves else gpu.fp32
            computing = operation.flops / (peak * 1e12)
            moving = operation.moved / (gpu.bandwidth * 1e9)
            total += max(max(computing, moving) / efficiency, LAUNCH if operation.moved else 0)
        return total


def forecast(cfg: Config, batch_size: int) -> Forecast:
    """Count a config's training step.

    Args:
        cfg: Config with ``model``, ``uda``, ``optim_wrapper`` and perhaps ``execution``. Parts that
            cannot be counted without files (CSI's vision-language models, CDDA's bank) have to be
            switched off; see :func:`countable`.
        batch_size: Images per domain.
    """
    step = TrainingStep(cfg)
    with StepMeter() as meter:
        meter.adopt(step.trainer)
        trainer, optim_wrapper = step.on("cpu", fused=True)  # as a GPU gets it
        batch = step.batch(batch_size)
        for part in batch.values():
            part["inputs"] = [meter.fake(image) for image in part["inputs"]]
            for sample in part["data_samples"]:
                sample.gt_sem_seg.data = meter.fake(sample.gt_sem_seg.data)
        _make_state(optim_wrapper)
        phases = _PhaseMeter(trainer, optim_wrapper, meter)
        gradients = _Gradients(optim_wrapper)
        meter.restart()
        with phases.step():
            trainer.train_step(batch, optim_wrapper)
        kinds = _kinds(trainer, optim_wrapper) | {"gradients": gradients.bytes}
        peak = max(phases.peaks.values())
        kinds["activations"] = max(peak - sum(kinds.values()), 0)
        student = [p for g in optim_wrapper.param_groups for p in g["params"]]
        trained = sum(p.numel() for p in student)
        everything = sum(p.numel() for p in _parameters(trainer))
        return Forecast(
            trained=trained,
            frozen=everything - trained,
            flops={name: int(count) for name, count in phases.seconds.items()},
            peak=peak,
            phase_peaks=dict(phases.peaks),
            kinds=kinds,
            checkpoint=sum(kinds[kind] for kind in ("weights", "teacher", "optimizer")),
            operations=tuple(meter.operations),
            half=optim_wrapper.amp is not None,
        )


def _make_state(optim_wrapper: Any) -> None:
    """Lets the optimizer make its state, which it does in its first step."""
    for group in optim_wrapper.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optim_wrapper.optimizer.step()
    optim_wrapper.optimizer.zero_grad()


def countable(cfg: Config) -> tuple[Config, list[str]]:
    """A config without what cannot be counted, and what that is."""
    cfg = Config(cfg.to_dict())
    left_out = []
    for role, lacks in UNCOUNTED.items():
        if cfg.uda.get(role) is not None:
            cfg.uda[role] = None
            left_out.append(lacks)
    if cfg.uda.get("source_checkpoint") is not None:
        cfg.uda.source_checkpoint = None
        cfg.uda.pop("freeze_known", None)
    return cfg, left_out


def largest_batch(peaks: Mapping[int, int], memory: int, reserve: float = 0.5) -> int:
    """Images per domain that fit into ``memory`` GiB, from the peaks of two batch sizes.

    Args:
        peaks: Bytes by batch size, of two or more; between and beyond them memory grows evenly.
        memory: GiB of the GPU.
        reserve: GiB that the GPU's own context takes.
    """
    (small, low), *_, (large, high) = sorted(peaks.items())
    slope = (high - low) / (large - small)
    room = (memory - reserve) * GIB - (low - slope * small)
    return max(int(room // slope), 0)


class _PhaseMeter(StepTimer):
    """The phases of a step in operations instead of seconds, and the peak of each."""

    def __init__(self, trainer: Any, optim_wrapper: Any, meter: StepMeter) -> None:
        super().__init__(trainer, optim_wrapper, torch.device("cpu"))
        self._meter = meter
        self.peaks: dict[str, int] = defaultdict(int)

    def _now(self) -> int:
        return self._meter.flops

    def _charge(self) -> None:
        meter = self._meter
        if self._stack:
            name = self._stack[-1]
            self.peaks[name] = max(self.peaks[name], meter.peak)
        meter.peak = meter.live
        super()._charge()


class _Gradients:
    """How many bytes the gradients take when the parameters are updated."""

    def __init__(self, optim_wrapper: Any) -> None:
        self.bytes = 0
        update = optim_wrapper.update

        def measured(*args: Any) -> Any:
            grads = [p.grad for g in optim_wrapper.param_groups for p in g["params"]]
            self.bytes = _size(grad for grad in grads if grad is not None)
            return update(*args)

        optim_wrapper.update = measured


def _size(tensors: Any) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)


def _kinds(trainer: Any, optim_wrapper: Any) -> dict[str, int]:
    state = [x for s in optim_wrapper.optimizer.state.values() for x in s.values()]
    weights = _size(_tensors(trainer.model))
    registered = _size(_tensors(trainer))
    return {
        "weights": weights,
        "teacher": registered - weights,
        "frozen": sum(_size(_tensors(network)) for network in _hidden(trainer)),
        "optimizer": _size(x for x in state if isinstance(x, Tensor)),
    }


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _hidden(trainer: nn.Module) -> list[nn.Module]:
    """Networks that hide from ``parameters``; see ``self_training.frozen``."""
    hidden: list[nn.Module] = []
    shown = list(trainer.modules())
    for module in shown:
        network = module.__dict__.get("network")
        if isinstance(network, nn.Module) and network not in (*hidden, *shown):
            hidden.append(network)
    return hidden


def _parameters(trainer: nn.Module) -> list[Tensor]:
    shown = list(trainer.parameters())
    return shown + [p for network in _hidden(trainer) for p in network.parameters()]
