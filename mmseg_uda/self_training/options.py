"""Options of the self-training host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmseg_uda.engine.options import Options, read_group
from mmseg_uda.self_training.augmentation import STYLES
from mmseg_uda.self_training.teacher import SHARES


@dataclass(frozen=True)
class AugmentationOptions(Options):
    """How colours are jittered, and for whom it is decided."""

    KEY = "uda.augmentation"

    style: str = "kornia"
    """``kornia``: the operations of kornia 0.5.8, with which DAFormer's line was trained;
    ``torchvision``: torchvision's, as in VFM-UDA."""
    per_image: bool = False
    """Decide about jitter and blur for each image by itself (VFM-UDA) instead of for the batch."""

    def check(self) -> None:
        """Raises a ``UserError`` for an unknown style."""
        self.require_choice("style", STYLES)


@dataclass(frozen=True)
class JitterOptions(Options):
    """Colour jitter of images, each by itself."""

    probability: float = 0.9
    """Of each image to be jittered."""
    brightness: float = 32 / 255
    """Half width of the range of brightness factors."""
    contrast: float = 0.5
    """The same of contrast."""
    saturation: float = 0.5
    """The same of saturation."""
    hue: float = 0.05
    """Half width of the range of hue shifts, in turns."""

    def check(self) -> None:
        """Raises a ``UserError`` for numbers outside their range."""
        for name in ("probability", "brightness", "contrast", "saturation"):
            self.require(name, 0 <= getattr(self, name) <= 1, "a number in [0, 1]")
        self.require("hue", 0 <= self.hue <= 0.5, "a number of turns in [0, 0.5]")


@dataclass(frozen=True)
class SourceOptions(JitterOptions):
    """What VFM-UDA++ does to source images for their own loss; defaults are its values."""

    KEY = "uda.weak_jitter.source"

    probability: float = 0.8
    """Of each image to be jittered."""
    brightness: float = 0.8
    """Half width of the range of brightness factors."""
    contrast: float = 0.8
    """The same of contrast."""
    saturation: float = 0.8
    """The same of saturation."""
    hue: float = 0.4
    """Half width of the range of hue shifts, in turns."""
    grey_probability: float = 0.1
    """Of each image to lose its colours."""
    blur_probability: float = 0.5
    """Of each image to be blurred."""
    blur_sigma: tuple[float, float] = (0.15, 3.0)
    """Range of the blur's standard deviation in pixels."""

    def check(self) -> None:
        """Raises a ``UserError`` for numbers outside their range."""
        super().check()
        for name in ("grey_probability", "blur_probability"):
            self.require(name, 0 <= getattr(self, name) <= 1, "a number in [0, 1]")
        sigma = self.blur_sigma
        right = isinstance(sigma, Sequence) and len(sigma) == 2
        right = right and all(isinstance(s, (int, float)) for s in sigma)
        self.require(
            "blur_sigma",
            right and 0 < sigma[0] <= sigma[1],
            "two numbers above 0, the smaller first",
        )


@dataclass(frozen=True)
class WeakJitterOptions(JitterOptions):
    """Colour jitter of source images for their own loss and of target images before mixing."""

    KEY = "uda.weak_jitter"

    source: Mapping[str, Any] | None = None
    """A stronger change of source images in place of it, blur and grey images among it: ``{}`` as
    VFM-UDA++, or values of :class:`SourceOptions`. None: none, as in VFM-UDA."""

    def check(self) -> None:
        """Raises a ``UserError`` for numbers outside their range."""
        super().check()
        if self.source is not None:
            read_group(SourceOptions, self.source)


@dataclass(frozen=True)
class HostOptions(Options):
    """Options of every trainer that takes components; defaults are those of DAFormer's runs."""

    alpha: float = 0.999
    """Decay of the teacher's average. DAFormer 0.999, DACS 0.99."""
    pseudo_threshold: float = 0.968
    """Teacher probability from which a pixel counts as confident."""
    pseudo_share: str = "batch"
    """``batch``: one share of confident pixels for the batch, as the published code does;
    ``per_image``: one per image, as the DAFormer paper writes."""
    pseudo_weight_ignore_top: int = 0
    """Crop rows at the top without weight (Cityscapes at half resolution: 15)."""
    pseudo_weight_ignore_bottom: int = 0
    """Crop rows at the bottom without weight (there: 120)."""
    jitter_probability: float = 0.8
    """Effective probability of colour jitter on mixed images. The published configs say 0.2 for
    the probability of *not* jittering."""
    jitter_strength: float = 0.2
    """Half width of the jitter factors' range."""
    blur_probability: float = 0.5
    """Probability of blurring mixed images."""
    augmentation: Mapping[str, Any] | None = None
    """``style`` of the colour jitter and whether it is decided ``per_image``; see
    :class:`AugmentationOptions`."""
    weak_jitter: Mapping[str, Any] | None = None
    """A second, weaker jitter: of source images for their own loss (what is pasted stays clean) and
    of target images before mixing. None: none, as in DAFormer; VFM-UDA: ``{}``, the defaults of
    :class:`WeakJitterOptions`."""
    teacher_flip: bool = False
    """Pseudo-labels from the mean of the teacher's probabilities for an image and its mirror image
    (VFM-UDA)."""
    source_average: str | None = None
    """What the source's cross-entropy is averaged over: ``labelled`` pixels (VFM-UDA) or ``all``;
    None leaves it to the loss. Losses with pseudo-labels are not touched."""
    target_start: int = 0
    """Steps of source training before the target takes part. 0 in all published runs."""
    teacher_norm: str = "batch"
    """``batch``: the teacher's BatchNorm uses the statistics of the target batch, as in the
    code; ``running``: the student's running statistics."""

    def check(self) -> None:
        """Raises a ``UserError`` for values that cannot work."""
        self.require_choice("pseudo_share", SHARES)
        self.require_choice("teacher_norm", ("batch", "running"))
        self.require_choice("source_average", (None, "labelled", "all"))
        read_group(AugmentationOptions, self.augmentation)
        if self.weak_jitter is not None:
            read_group(WeakJitterOptions, self.weak_jitter)
        for name in ("alpha", "jitter_probability", "jitter_strength", "blur_probability"):
            self.require(name, 0 <= getattr(self, name) <= 1, "a number from 0 to 1")
        crop = ("pseudo_weight_ignore_top", "pseudo_weight_ignore_bottom")
        for name in ("pseudo_threshold", "target_start", *crop):
            self.require(name, getattr(self, name) >= 0, "0 or more")


@dataclass(frozen=True)
class SelfTrainingOptions(HostOptions):
    """Options of :class:`SelfTraining`; defaults are those of the published DAFormer runs."""

    class_pool: str = "batch"
    """``batch``: half of the classes of the whole batch are pasted, as the code does;
    ``per_image``: half of the image's own, as the DACS paper writes."""
    paste_ignored: bool = True
    """Whether unlabelled source pixels count as a class that can be pasted, as in the code."""
    source_only: bool = False
    """No pseudo-labels and no mixing; late losses still run (supervised MIC)."""
    inference: str = "student"
    """``student`` (published numbers) or ``teacher``."""

    def check(self) -> None:
        """Raises a ``UserError`` for values that cannot work."""
        super().check()
        self.require_choice("class_pool", ("batch", "per_image"))
        self.require_choice("inference", ("student", "teacher"))
