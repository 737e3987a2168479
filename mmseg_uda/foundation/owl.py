"""OWL-ViT and OWLv2 through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.foundation.base import CLIP_MEAN, CLIP_STD, Detector
from mmseg_uda.foundation.crops import RESAMPLES, normalise, resize_images
from mmseg_uda.foundation.lazy import (
    NO_CODE,
    LazyNetwork,
    Loaded,
    autocast,
    check_dtype,
    find_checkpoint,
    full_precision,
    loading,
    model_config,
)
from mmseg_uda.foundation.registry import DETECTORS

ALIASES = {
    "owlvit": "google/owlvit-base-patch32",
    "owlv2": "google/owlv2-base-patch16-ensemble",
}


@DETECTORS.register_module()
class OwlDetector(Detector):
    """OWL-ViT (Minderer et al., ECCV 2022) or OWLv2 (Minderer et al., NeurIPS 2023).

    Phrases are queried bare, and their features are computed once. The towers may run in half
    precision; the box and class heads stay in float32, because a box coordinate in bfloat16 is
    off by several pixels.

    Args:
        checkpoint: ``owlvit``, ``owlv2``, a folder with config, weights and tokenizer, or a hub
            name. The architecture is read from its config.
        preprocess: Of OWL-ViT: ``pil8`` (8-bit Pillow bicubic, as published) or ``tensor``
            (antialiased bicubic in float on the device). OWLv2's own preprocessing is a bilinear
            resize of floats, padded to a square first; both values mean that.
        dtype: Autocast type of both towers: ``fp32``, ``bf16`` or ``fp16``.
    """

    def __init__(
        self, checkpoint: str = "owlvit", preprocess: str = "pil8", dtype: str = "fp32"
    ) -> None:
        require_choice("OwlDetector: preprocess", preprocess, RESAMPLES)
        self.checkpoint = ALIASES.get(checkpoint, checkpoint)
        self.preprocess = preprocess
        self.dtype = check_dtype(dtype, "OwlDetector")
        self.network = LazyNetwork(("owl", self.checkpoint), self._load)
        self._queries: dict[tuple, Tensor] = {}

    def _load(self) -> Loaded:
        source, local = find_checkpoint(self.checkpoint)
        with loading(self.checkpoint, "config.json, the weights and the tokenizer files"):
            from transformers import (
                AutoTokenizer,
                Owlv2ForObjectDetection,
                OwlViTForObjectDetection,
            )

            kinds = {"owlvit": OwlViTForObjectDetection, "owlv2": Owlv2ForObjectDetection}
            kind = model_config(source, local).model_type
            if kind not in kinds:
                raise UserError(
                    f"OwlDetector: {self.checkpoint!r} holds a model of type {kind!r}.",
                    fix="Give the checkpoint of an OWL-ViT or OWLv2 detector.",
                )
            model = kinds[kind].from_pretrained(source, local_files_only=local)
            tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local, **NO_CODE)
        return Loaded(model, tokenizer=tokenizer, kind=kind)

    def load(self) -> None:
        """Loads the weights now instead of at first use."""
        self.network.get()

    @torch.no_grad()
    def detect(
        self, images: Tensor, prompts: Sequence[str], background: Sequence[str] = ()
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`Detector.detect`; N is the number of image patches (576 for B/32)."""
        loaded = self.network.get()
        model: Any = loaded.on(images.device)
        with full_precision(images.device):
            query = self._query_features(prompts, images.device)
            pixels = self.pixel_values(images)
            with autocast(images.device, self.dtype):
                features, _ = model.image_embedder(pixels)
            grid = features.float()
            tokens = grid.flatten(1, 2)
            logits, _ = model.class_predictor(tokens, query.expand(len(images), -1, -1), None)
            boxes = model.box_predictor(tokens, grid)
        if loaded.extras["kind"] == "owlv2":
            boxes = _square_to_image(boxes, *images.shape[-2:])
        return logits, boxes

    def pixel_values(self, images: Tensor) -> Tensor:
        """Network input (B, 3, S, S) of images (B, 3, H, W) with RGB in [0, 1]."""
        loaded = self.network.get()
        size = int(loaded.module.config.vision_config.image_size)
        if loaded.extras["kind"] == "owlv2":
            resized = _resize_owlv2(images, size)
        else:
            resized = resize_images(images, (size, size), self.preprocess)
        return normalise(resized, CLIP_MEAN, CLIP_STD)

    def _query_features(self, prompts: Sequence[str], device: torch.device) -> Tensor:
        key = (tuple(prompts), str(device))
        if key not in self._queries:
            loaded = self.network.get()
            model: Any = loaded.on(device)
            backbone = model.owlvit if loaded.extras["kind"] == "owlvit" else model.owlv2
            length = model.config.text_config.max_position_embeddings
            tokens = loaded.extras["tokenizer"](
                list(prompts),
                padding="max_length",
                truncation=True,
                max_length=length,
                return_tensors="pt",
            )
            with autocast(device, self.dtype):
                output = backbone.text_model(
                    input_ids=tokens["input_ids"].to(device),
                    attention_mask=tokens["attention_mask"].to(device),
                )
                embedded = backbone.text_projection(output.pooler_output)
            self._queries[key] = F.normalize(embedded.float(), dim=-1)
        return self._queries[key]


def _resize_owlv2(images: Tensor, size: int) -> Tensor:
    height, width = images.shape[-2:]
    side = max(height, width)
    images = F.pad(images.float(), (0, side - width, 0, side - height))
    sigma = (side / size - 1) / 2
    if sigma > 0:
        kernel = 2 * int(-(-3 * sigma // 1)) + 1
        images = gaussian_blur(images, [kernel, kernel], [sigma, sigma])
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)


def _square_to_image(boxes: Tensor, height: int, width: int) -> Tensor:
    # Boxes are relative to the padded square; relative to the image they are larger.
    side = max(height, width)
    cx, cy, w, h = boxes.unbind(-1)
    x, y = side / width, side / height
    return torch.stack([cx * x, cy * y, w * x, h * y], dim=-1)
