"""The stages propose, predict, score and relabel: what each reads, writes and depends on.

Every stage keeps one record per image at ``<out>/<stage>/<name>.npz``. Its fingerprint covers the
image's content, the fingerprints of the records that it reads, and the options that it uses, so an
option that only a late stage uses leaves the records of the earlier ones as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_uda.errors import UserError
from mmseg_uda.foundation.masks import MaskProposer, MaskSet
from mmseg_uda.labels import read_image
from mmseg_uda.methods.dynalign.engine import Engine
from mmseg_uda.methods.dynalign.image import (
    Predicted,
    Scored,
    View,
    decide,
    predict,
    predicts_first,
    propose,
    score,
)
from mmseg_uda.methods.dynalign.options import Options
from mmseg_uda.methods.dynalign.outputs import Outputs
from mmseg_uda.methods.dynalign.records import (
    file_digest,
    fingerprint,
    read_record,
    stored_fingerprint,
    write_record,
)
from mmseg_uda.methods.dynalign.running import Item, Stage
from mmseg_uda.methods.dynalign.sources import SourcePredictor

FORMAT = 1  # of the records; a change makes old ones stale
SCORE_OPTIONS = ("crops", "context_offsets", "minor_padding", "masked", "features", "feature_dtype")
FUSION_OPTIONS = ("fusion", "renormalize")
DECISION_OPTIONS = (*FUSION_OPTIONS, "logit_scale", "threshold", "sum_per_id", "shared",
                    "contexts", "normalize_before_mean", "confidence_default")  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What the stages share.

    Attributes:
        out: Folder of all results.
        options: Of the alignment.
        proposer: Finds regions; None where its records are there already.
        source: Predicts in the source taxonomy; None as above.
        engine: Encodes and decides.
        outputs: What is written for the user.
    """

    out: Path
    options: Options
    proposer: MaskProposer | None
    source: SourcePredictor | None
    engine: Engine
    outputs: Outputs

    @cached_property
    def stages(self) -> dict[str, RecordStage]:
        """The four stages by name, in the order in which they run."""
        first: tuple[RecordStage, ...] = (Propose(self), Predict(self))
        if predicts_first(self.proposer, self.options):
            first = first[::-1]
        ordered = (*first, Score(self), Relabel(self))
        return {stage.name: stage for stage in ordered}


class RecordStage(Stage):
    """A stage with one record per image."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.options = run.options

    def path(self, item: Item) -> Path:
        """The record of an image."""
        return self.run.out / self.name / f"{item.name}.npz"

    def stored(self, item: Item) -> str | None:
        """See :class:`Stage`."""
        return stored_fingerprint(self.path(item))

    def read(self, item: Item) -> dict[str, np.ndarray]:
        """The record, which has to be the one of the present settings."""
        return read_record(self.path(item), self.mark(item))

    def view(self, item: Item) -> View:
        """The image, read from its file."""
        return View.create(read_image(str(item.path)), self.options, item.name)

    def masks(self, item: Item) -> MaskSet:
        """What the stage propose has found."""
        return MaskSet.from_arrays(self._others("propose").read(item))

    def predicted(self, item: Item) -> Predicted:
        """What the stage predict has found."""
        return Predicted.from_arrays(self._others("predict").read(item))

    def _write(self, item: Item, arrays: dict[str, Any]) -> None:
        write_record(self.path(item), self.mark(item), arrays)

    def _others(self, name: str) -> RecordStage:
        return self.run.stages[name]


class Propose(RecordStage):
    """Regions of the image at working size."""

    name, verb = "propose", "Finding regions"

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.images = self.regions = 0

    def mark(self, item: Item) -> str:
        """See :class:`Stage`."""
        proposer = self._proposer
        files = [file_digest(proposer.find(item.name))] if proposer.needs_name else []
        if proposer.needs_labels:
            files.append(self._others("predict").mark(item))
        return fingerprint(
            stage=self.name,
            format=FORMAT,
            image=file_digest(item.path),
            proposer=self.key,
            files=files,
            **self.options.subset("working_size"),
        )

    def prepare(self) -> None:
        """Loads the proposer's weights, if it has any."""
        self._proposer.load()

    def load(self, item: Item) -> tuple:
        """The image, and the source prediction where it is needed."""
        return self.view(item), self.predicted(item) if self._proposer.needs_labels else None

    def work(self, item: Item, loaded: tuple) -> None:
        """Finds regions."""
        view, predicted = loaded
        masks = propose(view, self._proposer, predicted)
        self.images, self.regions = self.images + 1, self.regions + len(masks)
        self._write(item, masks.to_arrays())

    def status(self) -> str:
        """Regions per image."""
        return f"{self.regions / self.images:.0f} masks/img" if self.images else ""

    @cached_property
    def key(self) -> str:
        """Names the proposer and its settings; reads parts of the weights' files."""
        return self._proposer.cache_key

    @property
    def _proposer(self) -> Any:
        if self.run.proposer is None:
            raise UserError("There is no proposer of regions.", fix="Give --proposer.")
        return self.run.proposer


class Predict(RecordStage):
    """Source labels at working size; with soft votes also each region's mean probabilities."""

    name, verb = "predict", "Predicting"

    def mark(self, item: Item) -> str:
        """See :class:`Stage`."""
        soft = self.options.vote == "soft"
        return fingerprint(
            stage=self.name,
            format=FORMAT,
            image=file_digest(item.path),
            source=self._source.key(item.path, item.name),
            masks=self._others("propose").mark(item) if soft else None,
            **self.options.subset("working_size", "source_resize", "vote"),
        )

    def prepare(self) -> None:
        """Loads the segmenter."""
        self._source.prepare()

    def load(self, item: Item) -> tuple:
        """The image and, for soft votes, its regions."""
        return self.view(item), self.masks(item) if self.options.vote == "soft" else None

    def work(self, item: Item, loaded: tuple) -> None:
        """Predicts."""
        view, masks = loaded
        self._write(item, predict(view, self._source, self.options, masks).to_arrays())

    @property
    def _source(self) -> SourcePredictor:
        if self.run.source is None:
            raise UserError(
                "There is no source prediction.", fix="Give --config and --checkpoint, or --source."
            )
        return self.run.source


class Score(RecordStage):
    """Majority class and features of every region."""

    name, verb = "score", "Encoding regions"

    def mark(self, item: Item) -> str:
        """See :class:`Stage`."""
        fused = self.options.features == "fused"
        return fingerprint(
            stage=self.name,
            format=FORMAT,
            masks=self._others("propose").mark(item),
            source=self._others("predict").mark(item),
            encoder=self.run.engine.scorer_key,
            padding=self.run.engine.paddings.tolist(),
            decided=self.run.engine.decided,
            **self.options.subset(*SCORE_OPTIONS, *(FUSION_OPTIONS if fused else ())),
        )

    def prepare(self) -> None:
        """Loads the image encoder."""
        self.run.engine.scorer.load()

    def load(self, item: Item) -> tuple:
        """The image, its regions and its source prediction."""
        return self.view(item), self.masks(item), self.predicted(item)

    def work(self, item: Item, loaded: tuple) -> None:
        """Encodes the regions of one image."""
        view, masks, predicted = loaded
        self._write(item, score(view, self.run.engine, masks, predicted).to_arrays())

    def status(self) -> str:
        """Passes of the image encoder."""
        return f"{self.run.engine.scorer.image_calls} encoder calls"


class Relabel(RecordStage):
    """The aligned label map and everything that is written for the user."""

    name, verb = "relabel", "Aligning"

    def mark(self, item: Item) -> str:
        """See :class:`Stage`."""
        return fingerprint(
            stage=self.name,
            format=FORMAT,
            score=self._others("score").mark(item),
            taxonomy=self.run.engine.taxonomy.fingerprint(),
            **self.options.subset(*DECISION_OPTIONS),
        )

    def stored(self, item: Item) -> str | None:
        """See :class:`Stage`; None too where a file that is asked for is missing."""
        if not self.run.outputs.are_there(item):
            return None
        return super().stored(item)

    def load(self, item: Item) -> tuple:
        """Regions, source prediction and features."""
        scored = Scored.from_arrays(self._others("score").read(item))
        return self.masks(item), self.predicted(item), scored

    def work(self, item: Item, loaded: tuple) -> None:
        """Decides, paints and writes."""
        masks, predicted, scored = loaded
        result = decide(self.run.engine, masks, predicted, scored)
        painted = self.run.outputs.write(item, masks, result, predicted.size)
        self._write(item, record_of(masks, result, painted))


def record_of(masks: MaskSet, result: Any, painted: np.ndarray) -> dict[str, np.ndarray]:
    """What the relabel stage remembers about an image.

    Args:
        masks: M regions.
        result: As :func:`~mmseg_uda.methods.dynalign.relabel.relabel` returns.
        painted: (H, W) label map that was written.

    Returns:
        Of each region ``majority`` int16, ``ids`` int32, ``best`` int16 prompt-name, ``p`` float32,
        ``accepted`` bool and ``changed`` bool (the id is not the default); its candidates are
        ``names`` int16 and ``probabilities`` float16 from ``offsets`` (M + 1,) int64 on;
        ``covered`` is the share of the image below regions, ``classes`` and ``pixels`` are the
        histogram of the label map.
    """
    probability = result.probability.numpy()
    rows, names = np.nonzero(result.candidates.numpy())
    classes, pixels = np.unique(painted, return_counts=True)
    decision = result.decision
    return {
        "majority": result.majority.astype(np.int16),
        "ids": decision.ids.numpy().astype(np.int32),
        "best": decision.name.numpy().astype(np.int16),
        "p": decision.probability.numpy(),
        "accepted": decision.accepted.numpy(),
        "changed": result.changed.numpy(),
        "offsets": np.searchsorted(rows, np.arange(len(masks) + 1)).astype(np.int64),
        "names": names.astype(np.int16),
        "probabilities": probability[rows, names].astype(np.float16),
        "covered": np.array(float((masks.owner() >= 0).mean())),
        "classes": classes.astype(np.int32),
        "pixels": pixels,
    }
