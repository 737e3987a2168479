"""How often the host waits for the GPU in a config's training step, found out without a GPU."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mmengine.config import Config

from mmseg_uda.benchmarks.simulated_gpu import SimulatedGpu
from mmseg_uda.benchmarks.step import TrainingStep, kernels

#: The first step opens banks and networks, and may wait.
STEPS = 2


@dataclass(frozen=True)
class Waits:
    """The host's waits in one training step.

    Attributes:
        places: How often, by file, line and function.
        budget: How many the components declare.
        optimizer: Which of its implementations a GPU gets: ``fused``, ``foreach`` or ``default``.
    """

    places: dict[str, int]
    budget: int
    optimizer: str

    @property
    def count(self) -> int:
        """Of the step."""
        return sum(self.places.values())


def count_waits(cfg: Config, batch_size: int) -> Waits:
    """Runs a config's training step on a simulated GPU.

    Args:
        cfg: Config with ``model``, ``uda``, ``optim_wrapper`` and perhaps ``execution``.
        batch_size: Images per domain.

    Raises:
        RuntimeError: An operation takes tensors of two devices.
    """
    step = TrainingStep(cfg)
    with SimulatedGpu() as gpu:
        trainer, optim_wrapper = step.on("cuda")
        for _ in range(STEPS):
            gpu.waits.clear()
            trainer.train_step(step.batch(batch_size), optim_wrapper)
    components = getattr(trainer, "components", {})
    return Waits(
        dict(Counter(str(wait) for wait in gpu.waits)),
        sum(component.host_waits for component in components.values()),
        kernels(optim_wrapper.optimizer),
    )
