"""A frozen reference network: in no checkpoint, in no optimizer, always in eval mode."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

from mmseg_uda.errors import UserError


class FrozenNetwork(nn.Module):
    """Holds a network that training never changes.

    It moves with its owner between devices, but is hidden from ``state_dict``,
    ``parameters`` and ``train``: its weights come from a file that every run loads again, and
    :func:`guard_weights` tells on resume whether it is the same one.

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
        """Keeps the weights in ``dtype``, all but norms and biases, which are small."""
        self._dtype = dtype
        for parameter in self.network.parameters():
            if parameter.dim() > 1:
                parameter.data = parameter.data.to(dtype)

    def precision(self, device: torch.device) -> AbstractContextManager[Any]:
        """Region for forward passes: autocast to the weights' type where that is a short one."""
        if self._dtype is torch.float32:
            return nullcontext()
        return torch.autocast(device.type, self._dtype)

    def digest(self) -> str:
        """SHA-256 of all parameters and buffers, in order."""
        digest = hashlib.sha256()
        for tensor in [*self.network.parameters(), *self.network.buffers()]:
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def guard_weights(owner: nn.Module, consequence: str) -> None:
    """Gives ``owner`` a buffer ``fingerprint``, and refuses checkpoints that hold another one.

    Args:
        owner: Module whose state is saved.
        consequence: What other weights would do to the run, for the message.
    """
    owner.register_buffer("fingerprint", torch.zeros(32, dtype=torch.uint8))
    owner.register_load_state_dict_pre_hook(partial(_check_fingerprint, consequence))


def remember_weights(owner: nn.Module, network: FrozenNetwork) -> None:
    """Puts the fingerprint of ``network`` into the buffer that :func:`guard_weights` made."""
    digest = list(bytes.fromhex(network.digest()))
    before = owner.get_buffer("fingerprint")
    owner.fingerprint = torch.tensor(digest, dtype=torch.uint8, device=before.device)


def _check_fingerprint(
    consequence: str, module: nn.Module, state: dict, prefix: str, *_: Any
) -> None:
    stored, own = state.get(f"{prefix}fingerprint"), module.get_buffer("fingerprint").cpu()
    if stored is not None and own.any() and not torch.equal(stored.cpu(), own):
        raise UserError(
            "The backbone weights that this run starts from differ from those of the "
            f"checkpoint, so {consequence} would change in the middle of the run.",
            fix="Put the file back that the run started with (model.backbone.init_cfg).",
        )
