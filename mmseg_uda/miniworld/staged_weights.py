"""Miniature ImageNet weights of the networks in stages: torchvision's layout, reduced widths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from mmseg_uda.miniworld.web import read_web
from mmseg_uda.miniworld.weights import train_backbone

STEPS = 400
# Factors on channels and blocks, as the mini profile has them.
STAGED: dict[str, tuple[float, float]] = {
    "resnet50": (0.25, 0.5),
    "resnet101": (0.25, 0.34),
    "mobilenet_v2": (0.5, 0.5),
    "shufflenet_v2_x1_0": (0.5, 0.5),
}


def _build(arch: str) -> tuple[nn.Module, Sequence[int]]:
    from mmseg_uda.models.backbones import StagedBackbone

    width, depth = STAGED[arch]
    # As classifiers are trained: nothing frozen, nothing standardised, stride 32.
    backbone = StagedBackbone(arch, 32, (), standardize=False, width=width, depth=depth)
    return backbone, backbone.feature_channels


def make_staged(arch: str, web: Path, target: Path, steps: int | None) -> None:
    """Trains one network on the web-like domain and writes its state dict.

    Args:
        arch: Key of ``STAGED``.
        web: Folder of the web-like domain.
        target: File to write.
        steps: Optimizer steps, None for the tested number.
    """
    backbone, accuracy = train_backbone(
        *read_web(web), lambda: _build(arch), steps or STEPS, title=f"mini {arch}"
    )
    partial = target.with_name(f".{target.name}.partial")
    torch.save(backbone.to_torchvision_names(backbone.state_dict()), partial)
    partial.replace(target)
    print(f"mini {arch}: {100 * accuracy:.1f} % of augmented web crops right")
