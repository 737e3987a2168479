"""Copies of a network that hold what is frozen in common with it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def frozen_in_common(network: Network) -> Network:
    """Copies a network; parameters without gradient are the same tensors in both.

    A teacher of a large frozen encoder then costs what is trained. The mask token of a plain
    transformer is copied in any case: components that mask tokens train it later on.
    """
    shared = {
        id(parameter): parameter
        for name, parameter in network.named_parameters()
        if not parameter.requires_grad and not name.endswith("mask_token")
    }
    return copy.deepcopy(network, shared)


def own_and_given(copied: nn.Module, network: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of parameters of a copy and of its network that are not the same tensor."""
    for mine, theirs in zip(copied.parameters(), network.parameters(), strict=True):
        if mine is not theirs:
            yield mine, theirs
