"""What a detector and a crop classifier promise to the methods that use them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.foundation.crops import CROP_MODES, RESAMPLES, crop_boxes, normalise
from mmseg_uda.foundation.lazy import Adapter, check_dtype, full_precision

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class Detector(Adapter, ABC):
    """An open-vocabulary detector: frozen, built at first use, no ``nn.Module``."""

    @abstractmethod
    def detect(
        self, images: Tensor, prompts: Sequence[str], background: Sequence[str] = ()
    ) -> tuple[Tensor, Tensor]:
        """Boxes with one logit per prompt; ``sigmoid(logit)`` is the score.

        Args:
            images: (B, 3, H, W) float, RGB in [0, 1].
            prompts: Q phrases to look for.
            background: Phrases of everything else, for detectors whose score is relative to
                alternatives. OWL-ViT scores a phrase by itself and takes no notice.

        Returns:
            Logits (B, N, Q) float32 and boxes (B, N, 4) float32 as centre x, centre y, width,
            height, relative to the image size.
        """


class CropClassifier(Adapter, ABC):
    """A two-tower image–text model that compares image regions with phrases.

    Args:
        crop_mode: How a region becomes a square input: ``center`` (shortest edge resized, centre
            cut out, as CLIP's own preprocessing does), ``square_pad`` or ``stretch``; None takes
            what the model was trained with.
        preprocess: ``pil8`` (8-bit Pillow bicubic, one region after the other on the CPU) or
            ``tensor`` (antialiased bicubic in float, batched on the device).
        dtype: Autocast type of both towers: ``fp32``, ``bf16`` or ``fp16``.
        chunk: Regions per forward pass of the image tower, phrases per pass of the text tower.
    """

    def __init__(self, crop_mode: str | None, preprocess: str, dtype: str, chunk: int) -> None:
        owner = type(self).__name__
        require_choice(f"{owner}: crop_mode", crop_mode, (None, *CROP_MODES))
        require_choice(f"{owner}: preprocess", preprocess, RESAMPLES)
        if chunk < 1:
            raise UserError(f"{owner}: chunk={chunk}.", fix="Give a positive number of crops.")
        self._crop_mode = crop_mode
        self.preprocess = preprocess
        self.dtype = check_dtype(dtype, owner)
        self.chunk = chunk
        self._text: dict[tuple, Tensor] = {}

    @property
    @abstractmethod
    def input_size(self) -> int:
        """Side of the square network input in pixels."""

    @property
    @abstractmethod
    def embed_dim(self) -> int:
        """Length D of a feature."""

    @property
    @abstractmethod
    def cache_key(self) -> str:
        """Names the weights and settings that features depend on, without loading the weights."""

    @property
    def crop_mode(self) -> str:
        """How a region becomes a square input."""
        return self._crop_mode or "center"

    @property
    def mean(self) -> Sequence[float]:
        """Mean subtracted from RGB in [0, 1]."""
        return CLIP_MEAN

    @property
    def std(self) -> Sequence[float]:
        """Standard deviation that divides RGB in [0, 1]."""
        return CLIP_STD

    @abstractmethod
    def logit_scale(self, device: torch.device) -> Tensor:
        """The learned factor on the cosine, a float32 scalar (about 100 for OpenAI's CLIP)."""

    @abstractmethod
    def encode_text(self, prompts: Sequence[str], device: torch.device) -> Tensor:
        """Text features (P, D) float32, not normalised."""

    @abstractmethod
    def encode_image(self, pixels: Tensor) -> Tensor:
        """Image features (n, D) float32, not normalised, of normalised inputs (n, 3, S, S)."""

    @torch.no_grad()
    def text_features(self, prompts: Sequence[str], device: torch.device) -> Tensor:
        """Unit text features (P, D), encoded once per list of prompts and device."""
        key = (tuple(prompts), str(device))
        if key not in self._text:
            with full_precision(device):
                self._text[key] = F.normalize(self.encode_text(prompts, device), dim=-1)
        return self._text[key]

    @torch.no_grad()
    def classify(
        self,
        images: Tensor,
        prompts: Sequence[str],
        boxes: Tensor | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Similarity of image regions to phrases.

        Args:
            images: (B, 3, H, W) float, RGB in [0, 1].
            prompts: P phrases.
            boxes: (n, 4) integer pixels x0, y0, x1, y1, half-open, not empty; whole images if
                absent.
            index: (n,) int64, which image each box lies in.

        Returns:
            ``logit_scale * cosine``, (n, P) float32.
        """
        height, width = images.shape[-2:]
        if boxes is None:
            boxes = torch.zeros(len(images), 4, dtype=torch.long, device=images.device)
            boxes[:, 2], boxes[:, 3] = width, height
            index = torch.arange(len(images), device=images.device)
        assert index is not None, "boxes need the index of their image"
        text = self.text_features(prompts, images.device)
        if len(boxes) == 0:
            return images.new_zeros((0, len(prompts)))
        parts = zip(boxes.split(self.chunk), index.split(self.chunk), strict=True)
        with full_precision(images.device):
            features = [self.encode_image(self.crops(images, b, i)) for b, i in parts]
            cosine = F.normalize(torch.cat(features), dim=-1) @ text.t()
            return self.logit_scale(images.device) * cosine

    def crops(self, images: Tensor, boxes: Tensor, index: Tensor) -> Tensor:
        """Normalised network inputs (n, 3, S, S) of image regions."""
        crops = crop_boxes(
            images, boxes, index, self.input_size, self.crop_mode, self.preprocess, fill=self.mean
        )
        return normalise(crops, self.mean, self.std)
