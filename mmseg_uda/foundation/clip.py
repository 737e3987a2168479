"""Crop classifiers on CLIP: transformers' implementation and open_clip's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmseg_uda.errors import UserError
from mmseg_uda.foundation.base import CropClassifier
from mmseg_uda.foundation.lazy import (
    NO_CODE,
    LazyNetwork,
    Loaded,
    autocast,
    check_files,
    find_checkpoint,
    find_file,
    loading,
    model_config,
    weights_fingerprint,
)
from mmseg_uda.foundation.registry import CROP_CLASSIFIERS

# open_clip's names for what happens to images that are not square.
RESIZE_MODES = {"shortest": "center", "longest": "square_pad", "squash": "stretch"}
# DynAlign's model: ConvNeXt-Large image tower, 16 text layers, trained at 320 pixels.
ALIASES = {"convnext_large_d_320": "laion/CLIP-convnext_large_d_320.laion2B-s29B-b131K-ft-soup"}


@CROP_CLASSIFIERS.register_module()
class TransformersClip(CropClassifier):
    """CLIP (Radford et al., ICML 2021) with transformers.

    Args:
        checkpoint: Folder with ``config.json``, weights and tokenizer, or a hub name.
        crop_mode: See :class:`CropClassifier`; the defaults are CLIP's published preprocessing.
        preprocess: See :class:`CropClassifier`.
        dtype: See :class:`CropClassifier`.
        chunk: See :class:`CropClassifier`.
        input_size: Side of the network input in pixels, None for what the model was trained with;
            position embeddings are interpolated to another one.
    """

    def __init__(
        self,
        checkpoint: str = "openai/clip-vit-base-patch32",
        crop_mode: str | None = None,
        preprocess: str = "pil8",
        dtype: str = "fp32",
        chunk: int = 128,
        input_size: int | None = None,
    ) -> None:
        super().__init__(crop_mode, preprocess, dtype, chunk)
        self._input_size = check_input_size(input_size, "TransformersClip")
        self.checkpoint = checkpoint
        self.network = LazyNetwork(("transformers-clip", checkpoint), self._load)

    def _load(self) -> Loaded:
        source, local = find_checkpoint(self.checkpoint)
        with loading(self.checkpoint, "config.json, the weights and the tokenizer files"):
            from transformers import AutoTokenizer, CLIPModel

            model_config(source, local)  # checks it
            model = CLIPModel.from_pretrained(source, local_files_only=local)
            tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local, **NO_CODE)
        return Loaded(model, tokenizer=tokenizer)

    def load(self) -> None:
        """Loads the weights now instead of at first use."""
        self.network.get()

    @property
    def input_size(self) -> int:
        """Side of the square network input in pixels."""
        return self._input_size or int(self._config.vision_config.image_size)

    @property
    def embed_dim(self) -> int:
        """Length of a feature."""
        return int(self._config.projection_dim)

    @property
    def cache_key(self) -> str:
        """Names the weights and settings that features depend on."""
        weights = weights_fingerprint(self.checkpoint)
        return f"transformers-clip {weights} {self.dtype} size={self._input_size}"

    @property
    def _config(self) -> Any:
        return self.network.get().module.config

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
            other = pixels.shape[-1] != model.config.vision_config.image_size
            output = model.vision_model(pixel_values=pixels, interpolate_pos_encoding=other)
            return model.visual_projection(output.pooler_output).float()


@CROP_CLASSIFIERS.register_module()
class OpenClip(CropClassifier):
    """CLIP models of open_clip.

    Args:
        checkpoint: ``convnext_large_d_320`` (the LAION-2B soup), a folder with
            ``open_clip_config.json`` and the weights (open_clip's local format), a hub name, or,
            together with ``pretrained``, an architecture such as ``'ViT-B-32'``.
        pretrained: With an architecture name: a weights file or one of open_clip's tags.
        crop_mode: See :class:`CropClassifier`; without it the ``resize_mode`` in the model's
            settings decides.
        preprocess: See :class:`CropClassifier`.
        dtype: See :class:`CropClassifier`.
        chunk: See :class:`CropClassifier`.
        input_size: Side of the network input in pixels, None for what the model was trained with.
    """

    def __init__(
        self,
        checkpoint: str = "convnext_large_d_320",
        pretrained: str | None = None,
        crop_mode: str | None = None,
        preprocess: str = "pil8",
        dtype: str = "fp32",
        chunk: int = 128,
        input_size: int | None = None,
    ) -> None:
        super().__init__(crop_mode, preprocess, dtype, chunk)
        self._input_size = check_input_size(input_size, "OpenClip")
        self.checkpoint = checkpoint if pretrained else ALIASES.get(checkpoint, checkpoint)
        self.pretrained = pretrained
        key = ("open-clip", self.checkpoint, pretrained, input_size)
        self.network = LazyNetwork(key, self._load)

    def _load(self) -> Loaded:
        name = self.checkpoint
        needs = "open_clip_config.json and open_clip_model.safetensors"
        weights_file = find_file(self.pretrained or "")
        if self.pretrained and weights_file is None and Path(self.pretrained).suffix:
            raise UserError(
                f"OpenClip: no file {self.pretrained!r} with weights of {name}.",
                fix=f"Put it into pretrained/ (on a machine with network access: "
                f"hf download {ALIASES.get(name, 'OWNER/MODEL')} open_clip_pytorch_model.bin), or "
                "give one of open_clip's tags.",
            )
        source, local = (name, False) if self.pretrained else find_checkpoint(name)
        if local:
            folder = Path(source)
            weights = [p for e in ("safetensors", "bin", "pth") for p in folder.glob(f"*.{e}")]
            if not (folder / "open_clip_config.json").is_file() or not weights:
                raise UserError(
                    f"OpenClip: {name!r} is not a folder with {needs}.",
                    fix="Give such a folder, or an architecture name together with pretrained=.",
                )
            name = f"local-dir:{folder}"
        elif self.pretrained is None:
            name = f"hf-hub:{name}"
        if weights_file is not None:
            check_files(str(weights_file))
        with loading(self.checkpoint, needs):
            import open_clip

            model = open_clip.create_model(
                name,
                pretrained=str(weights_file or self.pretrained or "") or None,
                device="cpu",
                force_image_size=self._input_size,
                # A download that fails would else leave random weights and a warning.
                require_pretrained=True,
            )
            settings = open_clip.get_model_preprocess_cfg(model)
            config = open_clip.get_model_config(name)
            embed_dim = config["embed_dim"]
            # The folder's config also holds the options of transformers' tokenizer.
            named = (config.get("text_cfg") or {}).get("hf_tokenizer_name")
            tokenizer = open_clip.get_tokenizer(name, **(NO_CODE if named else {}))
        return Loaded(model, tokenizer=tokenizer, settings=settings, embed_dim=embed_dim)

    def load(self) -> None:
        """Loads the weights now instead of at first use."""
        self.network.get()

    @property
    def input_size(self) -> int:
        """Side of the square network input in pixels."""
        if self._input_size is not None:
            return self._input_size
        size = self.network.get().extras["settings"]["size"]
        return int(size if isinstance(size, int) else size[0])

    @property
    def embed_dim(self) -> int:
        """Length of a feature."""
        return int(self.network.get().extras["embed_dim"])

    @property
    def cache_key(self) -> str:
        """Names the weights and settings that features depend on."""
        weights = weights_fingerprint(self.checkpoint)
        if self.pretrained:
            weights += f" {weights_fingerprint(self.pretrained)}"
        return f"open-clip {weights} {self.dtype} size={self._input_size}"

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


def check_input_size(input_size: int | None, owner: str) -> int | None:
    """Returns ``input_size`` when it is None or a positive number of pixels.

    Raises:
        UserError: For any other value.
    """
    if input_size is not None and input_size < 1:
        raise UserError(
            f"{owner}: input_size={input_size}.", fix="Give a positive number of pixels."
        )
    return input_size
