"""SAM through transformers and through segment-anything."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from mmseg_uda.archives import check_archive
from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.foundation.lazy import (
    LazyNetwork,
    Loaded,
    autocast,
    check_dtype,
    find_checkpoint,
    find_file,
    full_precision,
    loading,
    model_config,
    pickled,
    weights_fingerprint,
)
from mmseg_uda.foundation.masks.automatic import AutomaticMaskProposer, GenerationOptions
from mmseg_uda.foundation.registry import MASK_PROPOSERS

ALIASES = {
    "vit_h": "facebook/sam-vit-huge",
    "vit_l": "facebook/sam-vit-large",
    "vit_b": "facebook/sam-vit-base",
}
# Type in the checkpoint's config -> class. SAM 2 is published as its video model.
KINDS = {
    "sam": "SamModel",
    "sam_hq": "SamHQModel",
    "sam2": "Sam2Model",
    "sam2_video": "Sam2Model",
}
PUBLISHED = {
    "vit_h": "sam_vit_h_4b8939.pth",
    "vit_l": "sam_vit_l_0b3195.pth",
    "vit_b": "sam_vit_b_01ec64.pth",
}
SOURCE = "https://dl.fbaipublicfiles.com/segment_anything"


class TransformersSam:
    """SAM, HQ-SAM or SAM 2 as transformers implements them.

    The image encoder may run in half precision; prompts and decoder stay in float32.

    Args:
        checkpoint: ``vit_h``, ``vit_l``, ``vit_b``, a folder with config and weights, or a hub
            name.
        dtype: Autocast type of the image encoder: ``fp32``, ``bf16`` or ``fp16``.
    """

    def __init__(self, checkpoint: str, dtype: str) -> None:
        self.checkpoint = ALIASES.get(checkpoint, checkpoint)
        self.dtype = check_dtype(dtype, "SamProposer")
        self.network = LazyNetwork(("transformers-sam", self.checkpoint), self._load)

    def _load(self) -> Loaded:
        source, local = find_checkpoint(self.checkpoint)
        with loading(self.checkpoint, "config.json and model.safetensors"):
            import transformers

            kind = model_config(source, local).model_type
            if kind not in KINDS:
                raise UserError(
                    f"SamProposer: {self.checkpoint!r} holds a model of type {kind!r}.",
                    fix=f"Give a checkpoint of one of the types {', '.join(KINDS)}.",
                )
            if not hasattr(transformers, KINDS[kind]):
                raise UserError(
                    f"transformers {transformers.__version__} does not know {KINDS[kind]}.",
                    fix="pip install -U transformers",
                )
            model, info = getattr(transformers, KINDS[kind]).from_pretrained(
                source, local_files_only=local, output_loading_info=True
            )
            missing = absent(model, info["missing_keys"])
            if missing:
                raise UserError(
                    f"SamProposer: the weights of {self.checkpoint!r} lack {len(missing)} "
                    f"parameters, {missing[0]} among them.",
                    fix="Fetch them again, or give the checkpoint of another model.",
                )
        return Loaded(model, kind=kind.removesuffix("_video"))

    def load(self) -> None:
        """Loads the weights now instead of at first use."""
        self.network.get()

    @property
    def cache_key(self) -> str:
        """See :class:`mmseg_uda.foundation.masks.automatic.Backend`."""
        return f"transformers-sam {weights_fingerprint(self.checkpoint)} {self.dtype}"

    @property
    def input_side(self) -> int:
        """Side of the square network input in pixels."""
        return int(self.network.get().module.config.prompt_encoder_config.image_size)

    @property
    def keeps_proportions(self) -> bool:
        """SAM 2 is trained on stretched images."""
        return self.network.get().extras["kind"] != "sam2"

    @torch.no_grad()
    def embed(self, pixels: Tensor) -> dict[str, Any]:
        """Embeddings of a network input (1, 3, S, S), by the names that the decoder expects."""
        loaded = self.network.get()
        model: Any = loaded.on(pixels.device)
        with full_precision(pixels.device), autocast(pixels.device, self.dtype):
            found = model.get_image_embeddings(pixels)
        if loaded.extras["kind"] == "sam_hq":
            image, inner = found
            return {
                "image_embeddings": image.float(),
                "intermediate_embeddings": [i.float() for i in inner],
            }
        if loaded.extras["kind"] == "sam2":
            return {"image_embeddings": [level.float() for level in found]}
        return {"image_embeddings": found.float()}

    @torch.no_grad()
    def predict(self, embedding: dict[str, Any], points: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`mmseg_uda.foundation.masks.automatic.Backend`."""
        model: Any = self.network.get().on(points.device)
        with full_precision(points.device):
            output = model(
                **embedding,
                input_points=points[None, :, None],
                input_labels=torch.ones(1, len(points), 1, dtype=torch.int, device=points.device),
                multimask_output=True,
            )
        return output.pred_masks[0].float(), output.iou_scores[0].float()


class SegmentAnything:
    """SAM as published, with the package segment-anything.

    Args:
        checkpoint: A published ``.pth`` file.
        model_type: ``vit_h``, ``vit_l`` or ``vit_b``.
        dtype: Autocast type of the image encoder: ``fp32``, ``bf16`` or ``fp16``.
    """

    def __init__(self, checkpoint: str, model_type: str, dtype: str) -> None:
        require_choice("SegmentAnythingProposer: model_type", model_type, PUBLISHED)
        self.checkpoint = checkpoint
        self.model_type = model_type
        self.dtype = check_dtype(dtype, "SegmentAnythingProposer")
        self.network = LazyNetwork(("segment-anything", checkpoint, model_type), self._load)
        self.keeps_proportions = True

    def _load(self) -> Loaded:
        path = find_file(self.checkpoint)
        if path is None:
            name = PUBLISHED[self.model_type]
            raise UserError(
                f"no file {self.checkpoint!r} with the weights of SAM.",
                fix=f"Download {SOURCE}/{name} into pretrained/, or give another file.",
            )
        try:
            from segment_anything import sam_model_registry
        except ImportError as error:
            raise UserError(
                "SegmentAnythingProposer needs the package segment-anything.",
                fix="pip install segment-anything, or choose SamProposer.",
            ) from error
        model = sam_model_registry[self.model_type]()
        try:
            check_archive(path)
            model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except pickle.UnpicklingError as error:
            raise pickled(str(path), error) from error
        except Exception as error:  # a damaged file may raise anything
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise UserError(
                f"{path} holds no weights of SAM's {self.model_type}: {reason}",
                fix=f"Download {SOURCE}/{PUBLISHED[self.model_type]} again, or correct model_type.",
            ) from error
        return Loaded(model)

    def load(self) -> None:
        """Loads the weights now instead of at first use."""
        self.network.get()

    @property
    def cache_key(self) -> str:
        """See :class:`mmseg_uda.foundation.masks.automatic.Backend`."""
        weights = weights_fingerprint(self.checkpoint)
        return f"segment-anything {self.model_type} {weights} {self.dtype}"

    @property
    def input_side(self) -> int:
        """Side of the square network input in pixels."""
        model: Any = self.network.get().module
        return int(model.image_encoder.img_size)

    @torch.no_grad()
    def embed(self, pixels: Tensor) -> Tensor:
        """See :class:`mmseg_uda.foundation.masks.automatic.Backend`."""
        model: Any = self.network.get().on(pixels.device)
        with full_precision(pixels.device), autocast(pixels.device, self.dtype):
            return model.image_encoder(pixels).float()

    @torch.no_grad()
    def predict(self, embedding: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`mmseg_uda.foundation.masks.automatic.Backend`."""
        model: Any = self.network.get().on(points.device)
        labels = torch.ones(len(points), 1, dtype=torch.int, device=points.device)
        with full_precision(points.device):
            sparse, dense = model.prompt_encoder(
                points=(points[:, None], labels), boxes=None, masks=None
            )
            logits, score = model.mask_decoder(
                image_embeddings=embedding,
                image_pe=model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=True,
            )
        return logits.float(), score.float()


def absent(model: torch.nn.Module, missing: Iterable[str]) -> list[str]:
    """Which of the parameters that a file did not hold are not tied to one that it did hold."""
    state, unknown = model.state_dict(), set(missing)
    held = {tensor.data_ptr() for name, tensor in state.items() if name not in unknown}
    return sorted(n for n in unknown if n in state and state[n].data_ptr() not in held)


@MASK_PROPOSERS.register_module()
class SamProposer(AutomaticMaskProposer):
    """Regions by SAM (Kirillov et al., ICCV 2023) with transformers; also HQ-SAM and SAM 2.

    Args:
        checkpoint: See :class:`TransformersSam`.
        dtype: See :class:`TransformersSam`.
        channel_order: See :class:`AutomaticMaskProposer`.
        options: See :class:`GenerationOptions`.
    """

    def __init__(
        self,
        checkpoint: str = "vit_h",
        dtype: str = "fp32",
        channel_order: str = "rgb",
        **options: Any,
    ) -> None:
        chosen = GenerationOptions.of("SamProposer", options)
        super().__init__(TransformersSam(checkpoint, dtype), chosen, channel_order)


@MASK_PROPOSERS.register_module()
class SegmentAnythingProposer(AutomaticMaskProposer):
    """Regions by SAM with the package segment-anything and a published ``.pth`` file.

    Args:
        checkpoint: See :class:`SegmentAnything`.
        model_type: See :class:`SegmentAnything`.
        dtype: See :class:`SegmentAnything`.
        channel_order: See :class:`AutomaticMaskProposer`.
        options: See :class:`GenerationOptions`.
    """

    def __init__(
        self,
        checkpoint: str = "sam_vit_h_4b8939.pth",
        model_type: str = "vit_h",
        dtype: str = "fp32",
        channel_order: str = "rgb",
        **options: Any,
    ) -> None:
        chosen = GenerationOptions.of("SegmentAnythingProposer", options)
        backend = SegmentAnything(checkpoint, model_type, dtype)
        super().__init__(backend, chosen, channel_order)
