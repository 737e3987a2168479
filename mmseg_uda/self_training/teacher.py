"""The mean teacher: weight average, forward modes, pseudo-labels."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmseg_uda.engine.records import TargetBatch
from mmseg_uda.models.sharing import own_and_given
from mmseg_uda.models.views import full_logits
from mmseg_uda.self_training.records import PseudoLabels


def ema_alpha(step: int, alpha: float) -> float:
    """Decay of the average at ``step`` ≥ 1: min(1 - 1 / (step + 1), alpha).

    Until the cap is reached the teacher is the plain mean of all students so far.
    """
    return min(1 - 1 / (step + 1), alpha)


class EmaTeacher:
    """An exponential moving average of the student, as a pseudo-label source.

    Buffers are never averaged: in DAFormer's code the teacher's BatchNorm statistics follow
    its own forward passes, and its forward uses batch statistics (``norm='batch'``). With
    ``norm='running'`` BatchNorm runs in eval mode on the student's statistics.

    Args:
        network: Same architecture as the student; stays where it is registered.
        alpha: Decay (DAFormer: 0.999, DACS: 0.99).
        norm: ``batch`` or ``running``.
        flip: Average the probabilities of an image and of its mirror image (VFM-UDA).
    """

    def __init__(
        self, network: nn.Module, alpha: float, norm: str = "batch", flip: bool = False
    ) -> None:
        self.network = network.requires_grad_(False)
        self.alpha = alpha
        self.norm = norm
        self.flip = flip

    @torch.no_grad()
    def update(self, student: nn.Module, step: int) -> None:
        """Averages the student's parameters in; at step 0 copy them."""
        pairs = list(own_and_given(self.network, student))
        mine, theirs = [one for one, _ in pairs], [other.detach() for _, other in pairs]
        if step == 0:
            torch._foreach_copy_(mine, theirs)
        else:
            torch._foreach_lerp_(mine, theirs, 1 - ema_alpha(step, self.alpha))
        if self.norm == "running":
            buffers = [b for b in self.network.buffers() if b.is_floating_point()]
            torch._foreach_copy_(buffers, [b for b in student.buffers() if b.is_floating_point()])

    def set_modes(self) -> None:
        """BatchNorm as the option says, where training changes it at all; all else in eval mode.

        Modules of any library then drop nothing, be it by a layer or by a mode of their own (timm's
        attention).
        """
        self.network.train()  # some networks keep a part of their BatchNorm in eval mode
        # Looked up here: synchronised BatchNorm takes the place of the network's own.
        norms = [module for module in self.network.modules() if _trains_statistics(module)]
        self.network.eval()
        if self.norm == "batch":
            for module in norms:
                module.train()

    @torch.no_grad()
    def logits(self, image: Tensor) -> Tensor:
        """(B, C, H, W) float32 logits of normalised images (B, 3, H, W).

        With ``flip`` the logarithms of the averaged probabilities.
        """
        self.set_modes()
        logits = full_logits(self.network, image).float()
        if not self.flip:
            return logits
        mirrored = full_logits(self.network, image.flip(-1)).float().flip(-1)
        both = torch.logaddexp(logits.log_softmax(dim=1), mirrored.log_softmax(dim=1))
        return both - math.log(2)


def _trains_statistics(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training


def pseudo_labels(
    logits: Tensor,
    threshold: float | None,
    share: Callable[[Tensor], Tensor],
    primary: bool = True,
) -> PseudoLabels:
    """Hard labels and weights from a teacher's logits.

    Args:
        logits: (B, C, H, W) float32.
        threshold: Probability from which a pixel counts as confident (0.968); None gives
            every pixel weight 1.
        share: (B, H, W) bool → (B,) float32; :func:`batch_share` or :func:`image_share`.
        primary: Whether these are the host's own labels.
    """
    confidence, label = torch.softmax(logits, dim=1).max(dim=1)
    if threshold is None:
        confident = torch.ones_like(label, dtype=torch.bool)
    else:
        confident = confidence >= threshold
    shares = share(confident)
    weight = shares.view(-1, 1, 1).expand_as(confidence).clone()
    return PseudoLabels(label, confidence, confident, shares, weight, primary)


def batch_share(confident: Tensor) -> Tensor:
    """Share of confident pixels in a batch (B, H, W) bool, repeated to (B,): DAFormer's code."""
    return confident.float().mean().expand(confident.shape[0])


def image_share(confident: Tensor) -> Tensor:
    """Share of confident pixels per image of (B, H, W) bool, (B,): the DAFormer paper, Eq. 4."""
    return confident.float().mean(dim=(1, 2))


SHARES: dict[str, Callable[[Tensor], Tensor]] = {"batch": batch_share, "per_image": image_share}


def margin_mask(target: TargetBatch, top: int, bottom: int) -> Tensor | None:
    """Valid pixels of a target batch: its own mask and the crop's margin rows.

    Args:
        target: The batch; ``target.valid`` may be None.
        top: Rows at the crop's upper edge that do not count (rectification artefacts).
        bottom: Rows at the crop's lower edge that do not count (the ego car).

    Returns:
        (B, H, W) float32 of 0 and 1, or None when every pixel counts.
    """
    if top == 0 and bottom == 0:
        return target.valid
    batch, _, height, width = target.image.shape
    valid = target.image.new_ones(batch, height, width)
    valid[:, :top] = 0
    valid[:, height - bottom :] = 0
    return valid if target.valid is None else valid * target.valid
