"""Crop classifiers on CLIP: transformers' implementation and open_clip's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmseg_uda.errors import UserError
from mmseg_uda.foundation.base import CropClassifier
from mmseg_uda.foundation.lazy import LazyNetwork, Loaded, autocast, find_checkpoint, loading
from mmseg_uda.foundation.registry import CROP_CLASSIFIERS

# open_clip's names for what happens to images that are not square.
RESIZE_MODES = {"shortest": "center", "longest": "square_pad", "squash": "stretch"}


@CROP_CLASSIFIERS.register_module()
class TransformersClip(CropClassifier):
    """CLIP (Radford et al., ICML 2021) with transformers.

    Args:
        checkpoint: Folder with ``config.json``, weights and tokenizer, or a hub name.
        crop_mode, preprocess, dtype, chunk: See :class:`CropClassifier`; the defaults are CLIP's
            published preprocessing.
    """

    def __init__(
        self,
        checkpoint: str = "openai/clip-vit-base-patch32",
        crop_mode: str | None = None,
        preprocess: str = "pil8",
        dtype: str = "fp32",
        chunk: int = 128,
    ) -> None:
        super().__init__(crop_mode, preprocess, dtype, chunk)
        self.checkpoint = checkpoint
        self.network = LazyNetwork(("transformers-clip", checkpoint), self._load)

    def _load(self) -> Loaded:
        source, local = find_checkpoint(self.checkpoint)
        with loading(self.checkpoint, "config.json, the weights and the tokenizer files"):
            from transformers import AutoTokenizer, CLIPModel

            model = CLIPModel.from_pretrained(source, local_files_only=local)
            tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
        return Loaded(model, tokenizer=tokenizer)

    @property
    def input_size(self) -> int:
        """Side of the square network input in pixels."""
        return int(self.network.get().module.config.vision_config.image_size)

    def logit_scale(self, device: torch.device) -> Tensor:
        """The learned factor on the cosine."""
        return self.network.get().on(device).logit_scale.float().exp()

    def encode_text(self, prompts: Sequence[str], device: torch.device) -> Tensor:
        """Text features (P, D) float32, not normalised."""
        loaded = self.network.get()
        model: Any = loaded.on(device)
        tokens = loaded.extras["tokenizer"](list(prompts), padding=True, return_tensors="pt")
        # The towers are called one by one because the return types of get_text_features and
        # get_image_features differ between releases of transformers.
        with torch.no_grad(), autocast(device, self.dtype):
            output = model.text_model(
                input_ids=tokens["input_ids"].to(device),
                attention_mask=tokens["attention_mask"].to(device),
            )
            return model.text_projection(output.pooler_output).float()

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Image features (n, D) float32, not normalised."""
        model: Any = self.network.get().on(pixels.device)
        with torch.no_grad(), autocast(pixels.device, self.dtype):
            output = model.vision_model(pixel_values=pixels)
            return model.visual_projection(output.pooler_output).float()


@CROP_CLASSIFIERS.register_module()
class OpenClip(CropClassifier):
    """CLIP models of open_clip.

    Args:
        checkpoint: Folder with ``open_clip_config.json`` and the weights (open_clip's local
            format), or the name of an architecture such as ``'ViT-B-32'``.
        pretrained: With an architecture name: a weights file or one of open_clip's tags.
        crop_mode, preprocess, dtype, chunk: See :class:`CropClassifier`. Without ``crop_mode``
            the ``resize_mode`` in the model's settings decides.
    """

    def __init__(
        self,
        checkpoint: str,
        pretrained: str | None = None,
        crop_mode: str | None = None,
        preprocess: str = "pil8",
        dtype: str = "fp32",
        chunk: int = 128,
    ) -> None:
        super().__init__(crop_mode, preprocess, dtype, chunk)
        self.checkpoint = checkpoint
        self.pretrained = pretrained
        self.network = LazyNetwork(("open-clip", checkpoint, pretrained), self._load)

    def _load(self) -> Loaded:
        name = self.checkpoint
        needs = "open_clip_config.json and open_clip_model.safetensors"
        if self.pretrained is None:
            folder = Path(find_checkpoint(name)[0])
            weights = [p for e in ("safetensors", "bin", "pth") for p in folder.glob(f"*.{e}")]
            if not (folder / "open_clip_config.json").is_file() or not weights:
                raise UserError(
                    f"OpenClip: {name!r} is not a folder with {needs}",
                    fix="give such a folder, or an architecture name together with pretrained=",
                )
            name = f"local-dir:{folder}"
        with loading(self.checkpoint, needs):
            import open_clip

            model = open_clip.create_model(name, pretrained=self.pretrained, device="cpu")
            tokenizer = open_clip.get_tokenizer(name)
            settings = open_clip.get_model_preprocess_cfg(model)
        return Loaded(model, tokenizer=tokenizer, settings=settings)

    @property
    def input_size(self) -> int:
        """Side of the square network input in pixels."""
        size = self.network.get().extras["settings"]["size"]
        return int(size if isinstance(size, int) else size[0])

    @property
    def crop_mode(self) -> str:
        """How a region becomes a square input."""
        if self._crop_mode is not None:
            return self._crop_mode
        return RESIZE_MODES[self.network.get().extras["settings"].get("resize_mode", "shortest")]

    @property
    def mean(self) -> Sequence[float]:
        """Mean subtracted from RGB in [0, 1]."""
        return self.network.get().extras["settings"]["mean"]

    @property
    def std(self) -> Sequence[float]:
        """Standard deviation that divides RGB in [0, 1]."""
        return self.network.get().extras["settings"]["std"]

    def logit_scale(self, device: torch.device) -> Tensor:
        """The learned factor on the cosine."""
        return self.network.get().on(device).logit_scale.float().exp()

    def encode_text(self, prompts: Sequence[str], device: torch.device) -> Tensor:
        """Text features (P, D) float32, not normalised."""
        loaded = self.network.get()
        model: Any = loaded.on(device)
        tokens = loaded.extras["tokenizer"](list(prompts)).to(device)
        with torch.no_grad(), autocast(device, self.dtype):
            return model.encode_text(tokens).float()

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Image features (n, D) float32, not normalised."""
        model: Any = self.network.get().on(pixels.device)
        with torch.no_grad(), autocast(pixels.device, self.dtype):
            return model.encode_image(pixels).float()
