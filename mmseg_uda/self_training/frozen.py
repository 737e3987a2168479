"""A frozen reference network: in no checkpoint, in no optimizer, always in eval mode."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn


class FrozenNetwork(nn.Module):
    """Holds a network that training never changes.

    It moves with its owner between devices, but is hidden from ``state_dict``,
    ``parameters`` and ``train``: its weights come from a file that every run loads again, and
    :meth:`fingerprint` tells on resume whether it was the same one.

    Args:
        network: The network.
    """

    network: nn.Module

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        # Not through nn.Module's __setattr__, which would register it as a child.
        object.__setattr__(self, "network", network.requires_grad_(False).eval())
        self._dtype = torch.float32

    def _apply(self, fn: Callable, recurse: bool = True) -> Any:
        self.network._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def store(self, dtype: torch.dtype) -> None:
        """Keep the weights in ``dtype``, all but norms and biases, which are small."""
        self._dtype = dtype
        for parameter in self.network.parameters():
            if parameter.dim() > 1:
                parameter.data = parameter.data.to(dtype)

    def precision(self, device: torch.device) -> AbstractContextManager[Any]:
        """Region for forward passes: autocast to the weights' type where that is a short one."""
        if self._dtype is torch.float32:
            return nullcontext()
        return torch.autocast(device.type, self._dtype)

    def fingerprint(self) -> str:
        """SHA-256 of all parameters and buffers, in order."""
        digest = hashlib.sha256()
        for tensor in [*self.network.parameters(), *self.network.buffers()]:
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()
