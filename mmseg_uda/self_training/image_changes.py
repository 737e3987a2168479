"""What a host's options do to images: the strong augmentation and the weak jitter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmseg_uda.engine.options import read_group
from mmseg_uda.engine.records import Normalization
from mmseg_uda.self_training.augmentation import strong_augmentation
from mmseg_uda.self_training.options import (
    AugmentationOptions,
    HostOptions,
    SourceOptions,
    WeakJitterOptions,
)
from mmseg_uda.self_training.random import StepRandom


class Decisions(NamedTuple):
    """Whether images are jittered and blurred, all together or each by itself."""

    jitter: bool | Sequence[bool]
    blur: bool | Sequence[bool]


class ImageChanges:
    """Colour jitter and blur as a host's options say.

    Args:
        options: The host's.
    """

    def __init__(self, options: HostOptions) -> None:
        self._options = options
        self._how: AugmentationOptions = read_group(AugmentationOptions, options.augmentation)
        self._weak: WeakJitterOptions | None = None
        if options.weak_jitter is not None:
            self._weak = read_group(WeakJitterOptions, options.weak_jitter)
        self._source: SourceOptions | None = None
        if self._weak is not None and self._weak.source is not None:
            self._source = read_group(SourceOptions, self._weak.source)

    def decide_together(self, random: StepRandom) -> Decisions | None:
        """Draws whether the strong augmentation concerns a batch; None where images are decided.

        DAFormer's code draws this before the classes that are pasted.
        """
        if self._how.per_image:
            return None
        jitter, blur = self._options.jitter_probability, self._options.blur_probability
        return Decisions(random.apply_color_jitter(jitter), random.apply_blur(blur))

    def decide(self, random: StepRandom, batch_size: int) -> Decisions:
        """Draws whom the strong augmentation concerns."""
        jitter, blur = self._options.jitter_probability, self._options.blur_probability
        return self.decide_together(random) or Decisions(
            random.jittered_images(batch_size, jitter), random.blurred_images(batch_size, blur)
        )

    @torch.no_grad()
    def strong(
        self,
        image: Tensor,
        normalization: Normalization,
        random: StepRandom,
        decisions: Decisions | None = None,
        shared_draws: bool = False,
    ) -> Tensor:
        """Strongly augments normalised images (B, 3, H, W).

        Args:
            image: The images.
            normalization: Of ``image``.
            random: Source of what is not decided yet.
            decisions: Of :meth:`decide`, where they were drawn before.
            shared_draws: One order of operations and one blur for the whole batch (MIC).
        """
        decisions = decisions or self.decide(random, image.shape[0])
        return strong_augmentation(
            image,
            normalization,
            random,
            jitter=decisions.jitter,
            blur=decisions.blur,
            jitter_strength=self._options.jitter_strength,
            shared_draws=shared_draws,
            style=self._how.style,
        )

    @torch.no_grad()
    def weak(self, image: Tensor, normalization: Normalization, random: StepRandom) -> Tensor:
        """Weakly jitters normalised images (B, 3, H, W), where the host does; each by itself."""
        weak = self._weak
        if weak is None:
            return image
        return strong_augmentation(
            image,
            normalization,
            random,
            jitter=random.jittered_images(image.shape[0], weak.probability),
            blur=False,
            jitter_strength=(weak.brightness, weak.contrast, weak.saturation, weak.hue),
            style=self._how.style,
        )

    @torch.no_grad()
    def source(self, image: Tensor, normalization: Normalization, random: StepRandom) -> Tensor:
        """Changes normalised source images (B, 3, H, W) for their own loss, each by itself."""
        strong, batch = self._source, image.shape[0]
        if strong is None:
            return self.weak(image, normalization, random)
        return strong_augmentation(
            image,
            normalization,
            random,
            jitter=random.jittered_images(batch, strong.probability),
            grey=random.grey_images(batch, strong.grey_probability),
            blur=random.blurred_images(batch, strong.blur_probability),
            jitter_strength=(strong.brightness, strong.contrast, strong.saturation, strong.hue),
            blur_sigma=strong.blur_sigma,
            style=self._how.style,
        )
