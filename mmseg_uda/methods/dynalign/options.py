"""Every option of the alignment, and the two presets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import Any

from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.methods.dynalign.decision import LOGIT_SCALE
from mmseg_uda.methods.dynalign.fusion import FUSIONS

CHOICES = {
    "channel_order": ("rgb", "bgr"),
    "source_resize": ("logits", "labels"),
    "vote": ("hard", "soft"),
    "crops": ("fast", "exact"),
    "fusion": FUSIONS,
    "contexts": ("full", "name", "released"),
    "features": ("parts", "fused"),
    "feature_dtype": ("float16", "float32"),
}
NUMBERS = {int: Integral, float: Real}


def working_shape(text: str, shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which an image of ``shape`` = (height, width) is worked on.

    Args:
        text: See :class:`Options`.
        shape: Of the image.

    Raises:
        UserError: The text is none of the three forms.
    """
    if text == "original":
        return int(shape[0]), int(shape[1])
    match = re.fullmatch(r"stretch:([1-9]\d*)x([1-9]\d*)", text)
    if match:
        return int(match[1]), int(match[2])
    match = re.fullmatch(r"keep_ratio:([1-9]\d*)", text)
    if match is None:
        raise UserError(
            f"DynAlign: working_size={text!r} is not understood.",
            fix="Give stretch:HEIGHTxWIDTH, keep_ratio:LONGER_SIDE or original.",
        )
    scale = int(match[1]) / max(shape)
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


@dataclass(frozen=True)
class Options:
    """How regions are read, compared and decided.

    Attributes:
        working_size: Size at which regions and crops are taken: ``stretch:1440x1920`` (height ×
            width, the aspect ratio is not kept), ``keep_ratio:1920`` (longer side) or
            ``original``.
        channel_order: Of images for proposers with a network: ``rgb``, or ``bgr`` as the published
            code hands them to SAM.
        source_resize: ``logits``: the network's logits are resized to the working size;
            ``labels``: its labels at the image's own size are (published).
        vote: ``hard``: a region belongs to the source class of most of its pixels; ``soft``: to
            the class with the largest mean probability.
        crops: ``exact``: as OpenCV on 8-bit data; ``fast``: batched on the device.
        context_offsets: Pixels that are added to a class's padding, one entry per size of
            surroundings.
        minor_padding: Padding of a crop's other sides, in pixels.
        padding_scale: Factor on the taxonomy's paddings, which belong to images of 1440x1920.
        masked: Blacken what is outside the region in its own crop.
        fusion: See :func:`~mmseg_uda.methods.dynalign.fusion.fuse`.
        renormalize: Make the fused feature a unit vector.
        logit_scale: Factor before the softmax.
        threshold: A candidate's probability must exceed it, else the default class is kept.
        sum_per_id: Add the probabilities of prompt-names that stand for one target class.
        shared: Let the candidates that all source classes share compete.
        contexts: ``full``: mean text feature of all context names; ``name``: the name alone;
            ``released``: all context names, misspelt as released.
        normalize_before_mean: Make text features unit vectors before they are averaged.
        features: What is kept per region: ``parts``: masked and context features, so that the
            fusion can be changed without encoding; ``fused``: their blend, a third of the space.
        feature_dtype: Of the kept features; decisions are made from these values.
        confidence_default: Value of confidence files where a region keeps its default class.
    """

    working_size: str = "stretch:1440x1920"
    channel_order: str = "rgb"
    source_resize: str = "logits"
    vote: str = "hard"
    crops: str = "fast"
    context_offsets: tuple[int, ...] = (0, 200)
    minor_padding: int = 20
    padding_scale: float = 1.0
    masked: bool = True
    fusion: str = "dynamic"
    renormalize: bool = False
    logit_scale: float = LOGIT_SCALE
    threshold: float = 0.6
    sum_per_id: bool = False
    shared: bool = True
    contexts: str = "full"
    normalize_before_mean: bool = False
    features: str = "parts"
    feature_dtype: str = "float16"
    confidence_default: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _typed(field, getattr(self, field.name)))
        working_shape(self.working_size, (2, 2))
        for name, known in CHOICES.items():
            require_choice(f"DynAlign: {name}", getattr(self, name), known)
        checks = {
            "context_offsets": len(self.context_offsets) > 0 and min(self.context_offsets) >= 0,
            "minor_padding": self.minor_padding >= 0,
            "padding_scale": self.padding_scale >= 0,
            "logit_scale": self.logit_scale > 0,
            "threshold": 0 <= self.threshold <= 1,
            "confidence_default": 0 <= self.confidence_default <= 255,
        }
        for name, right in checks.items():
            if not right:
                raise UserError(f"DynAlign: {name}={getattr(self, name)!r} is out of range.")

    def subset(self, *names: str) -> dict[str, Any]:
        """The values of some options, in a form that JSON keeps."""
        values = self.as_json()
        return {name: values[name] for name in names}

    def as_json(self) -> dict[str, Any]:
        """All values in a form that JSON keeps."""
        values = asdict(self)
        return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}


def _typed(field: Field, value: Any) -> Any:
    """A value in the type of its option's default, so that 1 and 1.0 are the same threshold."""
    kind: Any = type(field.default)
    if kind is tuple:
        entries = value if isinstance(value, (list, tuple)) else (value,)
        if all(_is_number(entry, Integral) for entry in entries):
            return tuple(int(entry) for entry in entries)
    elif kind in NUMBERS:
        if _is_number(value, NUMBERS[kind]):
            return kind(value)
    elif isinstance(value, kind):
        return value
    raise UserError(
        f"DynAlign: {field.name}={value!r} has the wrong type.",
        fix=f"Give a value like {field.default!r}.",
    )


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


PRESETS: dict[str, Options] = {
    "released": Options(
        channel_order="bgr",
        source_resize="labels",
        crops="exact",
        contexts="released",
        feature_dtype="float32",
    ),
    "recommended": Options(),
}
DEFAULT_PRESET = "recommended"
# IDD's wide images suffer most from being stretched to 4:3.
RECOMMENDED_SIZES = {"idd_v5": "keep_ratio:1920"}


def preset(
    name: str = DEFAULT_PRESET,
    changes: Mapping[str, Any] | None = None,
    taxonomy: str | None = None,
) -> Options:
    """A preset with some options changed.

    Args:
        name: ``released`` (as the published code is meant: BGR to SAM, exact crops, labels resized,
            features that are not rounded, texts as they are spelt there) or ``recommended``.
            Networks are in eval mode in both.
        changes: Options by name; None keeps the preset's value.
        taxonomy: Name of the taxonomy map, by which ``recommended`` chooses the working size.

    Raises:
        UserError: Unknown preset, option or value.
    """
    if name not in PRESETS:
        raise UserError(f"There is no preset {name!r}.", fix=f"Use one of {', '.join(PRESETS)}.")
    given = {key: value for key, value in (changes or {}).items() if value is not None}
    known = [f.name for f in fields(Options)]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise UserError(
            f"DynAlign has no option {unknown[0]!r}.", fix=f"Use one of {', '.join(known)}."
        )
    chosen = PRESETS[name]
    if name == "recommended" and taxonomy in RECOMMENDED_SIZES:
        chosen = replace(chosen, working_size=RECOMMENDED_SIZES[taxonomy])
    return replace(chosen, **given)
