"""The frozen ImageNet encoder whose features the student stays close to."""

from __future__ import annotations

import copy
from collections.abc import Collection

import torch
from torch import Tensor, nn

from mmseg_uda.models.backbones import StagedBackbone
from mmseg_uda.self_training.frozen import FrozenNetwork, guard_weights, remember_weights
from mmseg_uda.self_training.teacher import EmaTeacher


class FrozenTeacher(FrozenNetwork):
    """The student's encoder as it was initialised; in no checkpoint and no optimizer.

    Behind the standardisation the running statistics of ImageNet are wrong, so BatchNorm takes
    those of the batch (``norm='batch'``) and keeps no record of them.

    Args:
        backbone: The student's encoder; the teacher is a copy.
        norm: ``batch`` or ``running``.
        alpha: Decay of an average of the student's parameters; at 1 the teacher never changes.
            An average has to be saved by its owner, through ``network``.
    """

    network: StagedBackbone
    fingerprint: Tensor

    def __init__(self, backbone: StagedBackbone, norm: str = "batch", alpha: float = 1.0) -> None:
        super().__init__(copy.deepcopy(backbone))
        self.averages = alpha < 1
        self._norm = norm
        self._average = EmaTeacher(self.network, alpha, norm)
        self._fitted = False
        guard_weights(self, "the alignment")

    def take_weights(self, backbone: StagedBackbone, dtype: torch.dtype) -> None:
        """Copies the encoder as initialised.

        Args:
            backbone: The student's encoder.
            dtype: To store weights in; an average keeps float32.
        """
        self.store(torch.float32)
        self.network.load_state_dict(backbone.state_dict())
        remember_weights(self, self)
        if not self.averages:
            self.store(dtype)

    def update(self, backbone: StagedBackbone, step: int) -> None:
        """Before a step: average the student's parameters in, if that is wanted."""
        if self.averages:
            self._average.update(backbone, step)

    def set_modes(self, backbone: StagedBackbone) -> None:
        """Brings the layers into the modes of a pass; synchronises BatchNorm as the student."""
        if not self._fitted:
            if _synchronised(backbone) and not _synchronised(self.network):
                # Hidden from the conversion of the whole model.
                nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm) and self._norm == "batch":
                    module.track_running_stats = False
            self._fitted = True
        self._average.set_modes()

    @torch.no_grad()
    def stem(self, image: Tensor) -> Tensor:
        """Its own stem's maps of images (B, 3, H, W), not standardised."""
        with self.precision(image.device):
            return self.network.forward_stem(image)

    @torch.no_grad()
    def features(self, h: Tensor, layers: Collection[int], batch: int) -> dict[int, Tensor]:
        """Maps of stages.

        Args:
            h: (n, C, h, w), the standardised maps of a stem.
            layers: Numbers of the stages that are wanted; later ones do not run.
            batch: How many of the n rows are wanted.

        Returns:
            (batch, C_l, H_l, W_l) by stage, which keep no other row in memory.
        """
        found = {}
        with self.precision(h.device):
            for number, stage in enumerate(self.network.stages[: max(layers)], 1):
                h = stage(h)
                if number in layers:
                    found[number] = h if len(h) == batch else h[:batch].clone()
        return found


def _synchronised(network: nn.Module) -> bool:
    return any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())
