"""The alignment of one image in memory.

:func:`align_image` runs the four steps one after another; the stages of a folder run the same steps
and keep a record of what each returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from mmseg_uda.errors import UserError
from mmseg_uda.foundation.masks import MaskProposer, MaskSet
from mmseg_uda.methods.dynalign.engine import Engine
from mmseg_uda.methods.dynalign.options import Options, working_shape
from mmseg_uda.methods.dynalign.relabel import Features, Relabelled
from mmseg_uda.methods.dynalign.sources import SourcePredictor
from mmseg_uda.methods.dynalign.votes import class_histogram, majority, mean_probabilities


@dataclass(frozen=True)
class View:
    """An image and what is worked on.

    Attributes:
        pixels: (H, W, 3) uint8 BGR at its own size.
        small: (h, w, 3) uint8 BGR at working size: bilinear, half-pixel centres, no antialias.
        name: By which stored regions and predictions are found.
    """

    pixels: np.ndarray
    small: np.ndarray
    name: str | None = None

    @classmethod
    def create(cls, pixels: np.ndarray, options: Options, name: str | None = None) -> View:
        """The view of an image under the options' working size."""
        shape = working_shape(options.working_size, pixels.shape[:2])
        small = pixels
        if pixels.shape[:2] != shape:
            small = cv2.resize(pixels, shape[::-1], interpolation=cv2.INTER_LINEAR)
        return cls(pixels, small, name)

    @property
    def size(self) -> tuple[int, int]:
        """The image's own height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """Working height and width."""
        return self.small.shape[0], self.small.shape[1]

    @property
    def rgb(self) -> np.ndarray:
        """(h, w, 3) uint8 RGB at working size."""
        return np.ascontiguousarray(self.small[..., ::-1])


@dataclass(frozen=True)
class Predicted:
    """The source prediction of an image.

    Attributes:
        labels: (h, w) unsigned integers, source class of every pixel at working size.
        size: The image's own height and width.
        votes: (M, K) float64, mean probability of each source class in each region; None counts
            the labels.
    """

    labels: np.ndarray
    size: tuple[int, int]
    votes: np.ndarray | None = None

    def to_arrays(self) -> dict[str, np.ndarray]:
        """As a record keeps it."""
        arrays = {"labels": self.labels, "size": np.array(self.size)}
        return arrays if self.votes is None else {**arrays, "votes": self.votes}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Predicted:
        """What :meth:`to_arrays` has returned."""
        height, width = arrays["size"].tolist()
        return cls(arrays["labels"], (height, width), arrays.get("votes"))


@dataclass(frozen=True)
class Scored:
    """What is known of M regions before they are decided.

    Attributes:
        majority: (M,) int64 source class, -1 for none.
        features: Of all regions.
    """

    majority: np.ndarray
    features: Features

    def to_arrays(self) -> dict[str, np.ndarray]:
        """As a record keeps it."""
        arrays = {"majority": self.majority.astype(np.int16), "masked": self.features.masked}
        context = self.features.context
        return arrays if context is None else {**arrays, "context": context}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Scored:
        """What :meth:`to_arrays` has returned."""
        features = Features(arrays["masked"], arrays.get("context"))
        return cls(arrays["majority"].astype(np.int64), features)


@dataclass(frozen=True)
class Aligned:
    """All that the steps have found in one image."""

    masks: MaskSet
    predicted: Predicted
    scored: Scored
    result: Relabelled


def align_image(
    view: View, proposer: MaskProposer, source: SourcePredictor, engine: Engine
) -> Aligned:
    """Aligns one image; reads and writes no file of its own.

    Args:
        view: The image.
        proposer: Finds regions.
        source: Predicts in the source taxonomy.
        engine: Encodes and decides; its options hold for all steps.

    Raises:
        UserError: Options and tools do not fit together, or a step has failed.
    """
    masks: MaskSet | None = None
    if predicts_first(proposer, engine.options):
        predicted = predict(view, source, engine.options)
        masks = propose(view, proposer, predicted)
    else:
        masks = propose(view, proposer)
        predicted = predict(view, source, engine.options, masks)
    scored = score(view, engine, masks, predicted)
    return Aligned(masks, predicted, scored, decide(engine, masks, predicted, scored))


def predicts_first(proposer: MaskProposer | None, options: Options) -> bool:
    """Whether regions are found in the source prediction.

    Raises:
        UserError: The prediction's votes would have to be read from these regions.
    """
    needs_labels = proposer is not None and proposer.needs_labels
    if needs_labels and options.vote == "soft":
        raise UserError(
            "Soft votes read regions during the prediction, and this proposer reads the "
            "prediction.",
            fix="Use hard votes, or regions that do not need the source prediction.",
        )
    return needs_labels


def propose(view: View, proposer: Any, predicted: Predicted | None = None) -> MaskSet:
    """Regions at working size.

    Args:
        view: The image.
        proposer: Finds them.
        predicted: Where :func:`predicts_first`.
    """
    return proposer.propose(view.rgb, None if predicted is None else predicted.labels, view.name)


def predict(
    view: View, source: SourcePredictor, options: Options, masks: MaskSet | None = None
) -> Predicted:
    """Source labels at working size; with soft votes also each region's mean probabilities.

    Args:
        view: The image.
        source: Predicts it.
        options: Of the alignment.
        masks: Regions, which only soft votes need.
    """
    soft = options.vote == "soft" and masks is not None
    found = source.predict(
        view.pixels, view.name or "", view.shape, options.source_resize, probabilities=soft
    )
    votes = None
    if soft and found.probabilities is not None:
        votes = mean_probabilities(masks, found.probabilities)  # type: ignore[arg-type]
    return Predicted(found.labels, view.size, votes)


def score(view: View, engine: Engine, masks: MaskSet, predicted: Predicted) -> Scored:
    """Majority class and features of every region."""
    votes = predicted.votes
    if votes is None:
        classes = len(engine.taxonomy.source_classes)
        votes = class_histogram(masks, predicted.labels, classes)
    voted = majority(votes)
    return Scored(voted, engine.encode(view.small, masks, voted))


def decide(engine: Engine, masks: MaskSet, predicted: Predicted, scored: Scored) -> Relabelled:
    """The aligned label map at working size."""
    return engine.relabel(masks, predicted.labels, scored.majority, scored.features)
