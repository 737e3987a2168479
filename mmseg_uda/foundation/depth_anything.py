"""Depth Anything V2 through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_uda.errors import UserError
from mmseg_uda.foundation.lazy import (
    NO_CODE,
    LazyNetwork,
    Loaded,
    autocast,
    check_dtype,
    find_checkpoint,
    loading,
    model_config,
)

ALIASES = {
    size: f"depth-anything/Depth-Anything-V2-{size.capitalize()}-hf"
    for size in ("small", "base", "large")
}
INPUT_SIDE = 518
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


@dataclass(frozen=True)
class Preparation:
    """How an image becomes a network input: small enough to be sent to loader processes.

    Attributes:
        side: Least length of the shorter side in pixels.
        patch: Both sides are multiples of this.
    """

    side: int
    patch: int

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the network input for an image: nearest multiples, never too short."""
        scale = self.side / min(height, width)
        least = -(-self.side // self.patch)
        steps = [max(round(s * scale / self.patch), least) for s in (height, width)]
        return steps[0] * self.patch, steps[1] * self.patch

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(3, h, w) float32 of an image (H, W, 3) uint8 BGR: cubic, ImageNet mean and deviation."""
        height, width = self.input_size(*image.shape[:2])
        rgb = image[..., ::-1].astype(np.float32) / 255
        resized = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.ascontiguousarray(((resized - MEAN) / STD).transpose(2, 0, 1))


class DepthAnything:
    """Relative inverse depth of single images (Yang et al., Depth Anything V2, NeurIPS 2024).

    Preparation of the input and size of the output follow the authors' script, so that maps are
    compatible with those that CDDA distributes. The weights of the small model are under
    Apache-2.0, those of the larger ones for non-commercial use.

    Args:
        checkpoint: ``small``, ``base``, ``large``, a folder with config and weights, or a hub name.
        input_side: Shorter side of the network input in pixels.
        dtype: Autocast type: ``fp32``, ``bf16`` or ``fp16``.
    """

    def __init__(
        self, checkpoint: str = "small", input_side: int = INPUT_SIDE, dtype: str = "fp32"
    ) -> None:
        self.checkpoint = ALIASES.get(checkpoint, checkpoint)
        self.input_side = input_side
        self.dtype = check_dtype(dtype, "DepthAnything")
        self.network = LazyNetwork(("depth_anything", self.checkpoint), self._load)

    def _load(self) -> Loaded:
        source, local = find_checkpoint(self.checkpoint)
        with loading(self.checkpoint, "config.json and the weights"):
            from transformers import AutoModelForDepthEstimation

            config = model_config(source, local)
            if config.model_type != "depth_anything":
                raise UserError(
                    f"{self.checkpoint!r} holds a model of type {config.model_type!r}.",
                    fix="Give the checkpoint of Depth Anything V2.",
                )
            if getattr(config, "depth_estimation_type", "relative") != "relative":
                raise UserError(
                    f"{self.checkpoint!r} estimates metric depth.",
                    fix="Give a relative model, such as "
                    "'depth-anything/Depth-Anything-V2-Small-hf'.",
                )
            model = AutoModelForDepthEstimation.from_pretrained(
                source, local_files_only=local, **NO_CODE
            )
        return Loaded(model, patch=int(config.patch_size))

    @property
    def preparation(self) -> Preparation:
        """How images become network inputs."""
        return Preparation(self.input_side, self.network.get().extras["patch"])

    @torch.no_grad()
    def predict(
        self, inputs: Tensor, size: Sequence[int], device: torch.device | str = "cpu"
    ) -> Tensor:
        """Inverse depth, larger = nearer, on no absolute scale.

        Args:
            inputs: (B, 3, h, w), prepared images of one size.
            size: (H, W) of the images.
            device: Where to compute.

        Returns:
            (B, H, W) float32 on ``device``.
        """
        device = torch.device(device)
        model = self.network.get().on(device)
        with autocast(device, self.dtype):
            depth = model(pixel_values=inputs.to(device)).predicted_depth
        depth = depth.float()[:, None]
        return F.interpolate(depth, size=tuple(size), mode="bilinear", align_corners=True)[:, 0]


def quantize(depth: np.ndarray, bits: int = 8) -> np.ndarray:
    """Scales a map (H, W) to the whole range of 8 or 16 bits, truncated; a constant one to 0."""
    low, high = float(depth.min()), float(depth.max())
    dtype, top = (np.uint8, 255) if bits == 8 else (np.uint16, 65535)
    if high <= low:
        return np.zeros(depth.shape, dtype)
    return ((depth.astype(np.float64) - low) / (high - low) * top).astype(dtype)
