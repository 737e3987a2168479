"""What stands in for autograd on a simulated GPU, where its engine cannot run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def count_devices() -> None:
    """Lets autograd count the devices of this machine, before there is a simulated one.

    It does so once in a process, at the first backward pass. If fake tensors were there before, it
    would count their device, start a thread for it, and refuse to run in processes forked later.
    """
    torch.zeros((), requires_grad=True).backward()


def backward(loss: Tensor, *_: Any, **__: Any) -> None:
    """Gives every parameter behind a loss a gradient of zeros, in place of ``Tensor.backward``.

    Args:
        loss: Scalar.
    """
    for leaf in _leaves(loss):
        if leaf.grad is None:
            leaf.grad = torch.zeros_like(leaf)


def _leaves(loss: Tensor) -> Iterator[Tensor]:
    pending, seen = [loss.grad_fn], set()
    while pending:
        node: Any = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        pending.extend(following for following, _ in node.next_functions)
