"""A frozen reference network: in no checkpoint, in no optimizer, always in eval mode."""

from __future__ import annotations

import hashlib
from typing import Any

from torch import nn


class FrozenNetwork(nn.Module):
    """Holds a network that training never changes.

    It moves with its owner between devices, but its weights stay out of ``state_dict``: they
    come from a file that every run loads again, and :meth:`fingerprint` tells on resume
    whether it was the same one.

    Args:
        network: The network.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> FrozenNetwork:
        """Stay in eval mode."""
        self.training = False
        return self

    def state_dict(self, *args: Any, destination: Any = None, **kwargs: Any) -> Any:
        """Add nothing to the owner's state."""
        return {} if destination is None else destination

    def fingerprint(self) -> str:
        """SHA-256 of all parameters and buffers, in order."""
        digest = hashlib.sha256()
        for tensor in [*self.network.parameters(), *self.network.buffers()]:
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()
