"""All random choices of the training step, behind one replaceable object.

The numbers of a step are a function of (seed, rank, step) alone: nothing has to be stored to
resume, and neither validation nor the data loader can shift them. Draws are made on the host
and copied without waiting, so a GPU run takes the same decisions as a CPU run.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmseg_uda.engine.step_seed import seed_step
from mmseg_uda.engine.transfer import to_device

# Range of the standard deviation of the blur in pixels.
BLUR_SIGMA = (0.15, 1.15)


def log_gamma_variates(
    concentration: float, shape: Sequence[int], generator: torch.Generator | None = None
) -> Tensor:
    """Logarithms of draws from the gamma distribution of a concentration α > 0 and rate 1.

    Gamma(α) is Gamma(α + 1) · U^(1/α) in distribution; in log space a small α cannot underflow.

    Args:
        concentration: α.
        shape: Shape of the result.
        generator: On the CPU; torch's global one when absent.

    Returns:
        float32 on the CPU.
    """
    ones = torch.ones(*shape, dtype=torch.float64)
    gamma = torch._standard_gamma(ones * (concentration + 1), generator)
    uniform = 1 - torch.rand(*shape, dtype=torch.float64, generator=generator)  # in (0, 1]
    return (gamma.log() + uniform.log() / concentration).float()


class StepRandom:
    """Draws every random choice of a self-training step.

    Tests replace single methods to pin a step.

    Args:
        seed: Seed of the run.
        rank: Rank of the process; ranks draw different numbers.
    """

    def __init__(self, seed: int = 0, rank: int = 0) -> None:
        self.seed = seed
        self.rank = rank
        self._generator = torch.Generator()
        self.begin_step(0)

    def begin_step(self, step: int, part: int = 0) -> None:
        """Reseeds for ``step``, torch's global generator included (dropout, drop path).

        Args:
            step: Completed optimizer steps.
            part: Number of the batch in the step, where gradients of several accumulate.
        """
        self._generator.manual_seed(seed_step(self.seed, self.rank, step, part))

    def apply_color_jitter(self, probability: float) -> bool:
        """Whether this step's images are colour-jittered."""
        return self._uniform() < probability

    def apply_blur(self, probability: float) -> bool:
        """Whether this step's images are blurred."""
        return self._uniform() < probability

    def jittered_images(self, batch_size: int, probability: float) -> list[bool]:
        """Which images are colour-jittered, where each is decided by itself."""
        return [self.apply_color_jitter(probability) for _ in range(batch_size)]

    def blurred_images(self, batch_size: int, probability: float) -> list[bool]:
        """Which images are blurred, where each is decided by itself."""
        return [self.apply_blur(probability) for _ in range(batch_size)]

    def grey_images(self, batch_size: int, probability: float) -> list[bool]:
        """Which images lose their colours."""
        return [self._uniform() < probability for _ in range(batch_size)]

    def jitter_factors(self, batch_size: int, device: torch.device) -> Tensor:
        """(B, 4) in [-1, 1): brightness, contrast, saturation, hue, before the strength."""
        return to_device(self._rand(batch_size, 4) * 2 - 1, device)

    def jitter_orders(self, batch_size: int, shared: bool) -> list[tuple[int, ...]]:
        """Per image the order of the four colour operations; one for all when ``shared``."""
        draws = 1 if shared else batch_size
        orders = [
            tuple(torch.randperm(4, generator=self._generator).tolist()) for _ in range(draws)
        ]
        return orders * batch_size if shared else orders

    def blur_sigma(
        self,
        batch_size: int,
        shared: bool,
        device: torch.device,
        bounds: tuple[float, float] = BLUR_SIGMA,
    ) -> Tensor:
        """(B,) standard deviations in pixels within bounds; one value for all when ``shared``."""
        low, high = bounds
        draws = self._rand(1).expand(batch_size) if shared else self._rand(batch_size)
        return to_device(low + (high - low) * draws, device)

    def class_ranks(self, batch_size: int, num_ids: int, device: torch.device) -> Tensor:
        """(B, num_ids) distinct numbers; ClassMix takes the present ids of smallest rank."""
        return to_device(self._rand(batch_size, num_ids), device)

    def crop_offset(self, rows: int, columns: int) -> tuple[int, int]:
        """Index of the detail crop's position on a grid of ``rows`` × ``columns`` positions."""
        return self._randint(rows), self._randint(columns)

    def kept_patches(
        self, batch_size: int, rows: int, columns: int, mask_ratio: float, device: torch.device
    ) -> Tensor:
        """(B, 1, rows, columns) float32 of 0 and 1; a patch is kept where U(0, 1) > ratio."""
        return to_device((self._rand(batch_size, 1, rows, columns) > mask_ratio).float(), device)

    def masked_tokens(
        self, batch_size: int, tokens: int, mask_ratio: float, device: torch.device
    ) -> Tensor:
        """(B, tokens) bool; a token is masked where U(0, 1) < ratio."""
        return to_device(self._rand(batch_size, tokens) < mask_ratio, device)

    def dropout_masks(
        self, passes: int, channels: int, rate: float, device: torch.device
    ) -> Tensor:
        """(passes, channels) float32: 0 with probability ``rate``, else 1 / (1 - rate)."""
        return to_device((self._rand(passes, channels) >= rate).float() / (1 - rate), device)

    def log_gamma(self, concentration: float, shape: Sequence[int], device: torch.device) -> Tensor:
        """Logarithms of gamma variates, ``shape`` float32; see :func:`log_gamma_variates`."""
        return to_device(log_gamma_variates(concentration, shape, self._generator), device)

    def _uniform(self) -> float:
        return float(self._rand(1))

    def _randint(self, high: int) -> int:
        return int(torch.randint(high, (1,), generator=self._generator))

    def _rand(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._generator)
