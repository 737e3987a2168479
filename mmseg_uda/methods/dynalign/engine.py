"""Encodes regions and decides them: the scorer, the text features and the decision together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmseg_uda.errors import UserError
from mmseg_uda.foundation.base import CropClassifier
from mmseg_uda.foundation.masks import MaskSet
from mmseg_uda.foundation.regions import region_features
from mmseg_uda.foundation.text import class_text_features
from mmseg_uda.methods.dynalign.options import Options
from mmseg_uda.methods.dynalign.relabel import Features, Relabelled, Vocabulary, relabel
from mmseg_uda.taxonomy import TaxonomyMap


class CountedScorer:
    """A crop classifier that counts what its two encoders are asked for.

    Attributes:
        image_calls: Passes of the image encoder.
        image_crops: Crops that it has seen.
        text_calls: Passes of the text encoder.
        text_prompts: Phrases that it has seen.
    """

    def __init__(self, classifier: CropClassifier) -> None:
        self.classifier = classifier
        self.image_calls = self.image_crops = self.text_calls = self.text_prompts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.classifier, name)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """See :class:`CropClassifier`."""
        self.image_calls += 1
        self.image_crops += len(pixels)
        return self.classifier.encode_image(pixels)

    def encode_text(self, prompts: Sequence[str], device: torch.device) -> Tensor:
        """See :class:`CropClassifier`."""
        self.text_calls += 1
        self.text_prompts += len(prompts)
        return self.classifier.encode_text(prompts, device)

    def as_json(self) -> dict[str, dict[str, int]]:
        """The counts, for summaries."""
        return {
            "image_encoder": {"calls": self.image_calls, "crops": self.image_crops},
            "text_encoder": {"calls": self.text_calls, "prompts": self.text_prompts},
        }


class Engine:
    """Aligns images of one taxonomy with one scorer.

    Args:
        taxonomy: From the source classes to the target classes; ``shared`` and ``contexts`` of the
            options choose its variant.
        scorer: Compares regions with texts.
        options: Of the alignment.
        device: Of the scorer.
        text_cache: Folder that keeps text features; None keeps them in memory only.
    """

    def __init__(
        self,
        taxonomy: TaxonomyMap,
        scorer: CropClassifier,
        options: Options,
        device: torch.device | str = "cpu",
        text_cache: Path | None = None,
    ) -> None:
        self._whole = taxonomy
        self.taxonomy = taxonomy.variant(options.shared, options.contexts)  # type: ignore[arg-type]
        self.scorer = CountedScorer(scorer)
        self.scorer_key = scorer.cache_key  # reads parts of the weights' files
        self.options = options
        self.device = torch.device(device)
        self.text_cache = text_cache
        self._text: Tensor | None = None

    def encode(self, image: np.ndarray, masks: MaskSet, majority: np.ndarray) -> Features:
        """Features of the regions of one image.

        Args:
            image: (h, w, 3) uint8 BGR at working size.
            masks: M regions of it.
            majority: (M,) source class of each; regions of a class in which no candidates compete,
                or of none, are not encoded.

        Returns:
            In the type that ``feature_dtype`` names; the context is left out where only the blend
            is kept.

        Raises:
            UserError: A feature is not finite; its region would silently keep its default.
        """
        dtype = np.dtype(self.options.feature_dtype)
        chosen = np.flatnonzero(np.isin(majority, self.decided))
        if len(chosen) == 0:
            return Features(np.zeros((len(masks), 0), dtype), None)
        found = region_features(
            self.scorer,  # type: ignore[arg-type]
            np.ascontiguousarray(image[..., ::-1]),
            masks.select(chosen),
            self.paddings[majority[chosen]],
            crops=self.options.crops,
            minor=self.options.minor_padding,
            scales=self.options.context_offsets,
            device=self.device,
            blacken=self.options.masked,
        )
        if not (found.masked.isfinite().all() and found.context.isfinite().all()):
            raise UserError(
                "The image encoder returned values that are not finite.",
                fix="Use scorer dtype='bf16' or 'fp32'; the weights' file may be damaged.",
            )
        parts = Features(found.masked.cpu().numpy(), found.context.cpu().numpy())
        if self.options.features == "fused":
            parts = Features(parts.fused(self.options).numpy(), None)
        context = parts.context
        return Features(
            _rows(parts.masked, chosen, len(masks), dtype),
            None if context is None else _rows(context, chosen, len(masks), dtype),
        )

    def relabel(
        self, masks: MaskSet, source: np.ndarray, majority: np.ndarray, features: Features
    ) -> Relabelled:
        """The aligned label map; see :func:`~mmseg_uda.methods.dynalign.relabel.relabel`."""
        vocabulary = self.vocabulary(with_text=bool(np.isin(majority, self.decided).any()))
        return relabel(masks, source, majority, features, vocabulary, self.options)

    @property
    def paddings(self) -> np.ndarray:
        """(K,) int64, context around regions of each source class in pixels."""
        scaled = np.asarray(self.taxonomy.paddings) * self.options.padding_scale
        return np.rint(scaled).astype(np.int64)

    @property
    def names(self) -> tuple[str, ...]:
        """Prompt-names."""
        return self.taxonomy.names

    @property
    def decided(self) -> list[int]:
        """Source classes in whose regions candidates compete, ablations or not."""
        return [k for k, row in enumerate(self._whole.candidates) if len(row) > 1]

    def vocabulary(self, with_text: bool = True) -> Vocabulary:
        """The taxonomy as numbers; texts are encoded once.

        Args:
            with_text: False leaves the text features out, which nothing needs where no region is
                to be decided.
        """
        taxonomy, options = self.taxonomy, self.options
        text = torch.zeros(len(taxonomy.names), 0)
        if with_text and self._text is None:
            self._text = class_text_features(
                self.scorer,  # type: ignore[arg-type]
                taxonomy.contexts,
                taxonomy.templates,
                options.normalize_before_mean,
                self.device,
                self.text_cache,
            ).cpu()
        if with_text and self._text is not None:
            text = self._text
        return Vocabulary(
            names=taxonomy.names,
            name_ids=torch.tensor(taxonomy.name_ids, dtype=torch.int64),
            candidates=torch.tensor(taxonomy.candidate_table(), dtype=torch.bool),
            default=torch.tensor(taxonomy.defaults, dtype=torch.int64),
            text=text,
            void_id=taxonomy.void_id,
        )


def _rows(values: np.ndarray, chosen: np.ndarray, count: int, dtype: np.dtype) -> np.ndarray:
    """Values of some of ``count`` regions, zeros for the others."""
    every = np.zeros((count, *values.shape[1:]), dtype)
    every[chosen] = values
    return every
