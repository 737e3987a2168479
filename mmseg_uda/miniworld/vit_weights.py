"""The miniature weights of plain vision transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from mmseg_uda.miniworld.web import read_web
from mmseg_uda.miniworld.weights import train_backbone

# About a minute of one core; a transformer of this size goes on learning for much longer.
STEPS = 800
# The network of the mini profile, which reads images as it does here.
ARCH = "vit_small_patch14_dinov2"
SIZE = {"embed_dim": 48, "depth": 4, "num_heads": 3, "img_size": 140, "init_values": 1.0}
INPUT_SCALE = 1.1


def tiny_vit() -> tuple[nn.Module, Sequence[int]]:
    """The miniature transformer and the channels of its last two blocks' maps."""
    from mmseg_uda.models.backbones import TimmViT

    backbone = TimmViT(ARCH, input_scale=INPUT_SCALE, out_indices=(-2, -1), arch_options=dict(SIZE))
    return backbone, backbone.feature_channels


def make_vit(web: Path, target: Path, steps: int | None) -> None:
    """Trains the transformer on the web-like domain and writes its state dict.

    The class is read off the mean of the patches, not off the class token, so that patches have a
    use for what they show.

    Args:
        web: Folder of the web-like domain.
        target: File to write.
        steps: Optimizer steps, None for the tested number.
    """
    backbone, accuracy = train_backbone(
        *read_web(web), tiny_vit, steps or STEPS, title="tiny transformer"
    )
    partial = target.with_name(f".{target.name}.partial")
    torch.save(backbone.state_dict(), partial)
    partial.replace(target)
    print(f"tiny transformer: {100 * accuracy:.1f} % of augmented web crops right")
