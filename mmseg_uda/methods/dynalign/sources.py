"""Where the source prediction of an image comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmseg_uda.errors import UserError
from mmseg_uda.labels import read_label
from mmseg_uda.methods.dynalign.painting import nearest
from mmseg_uda.methods.dynalign.records import file_digest
from mmseg_uda.taxonomy.folders import similar

LABEL_ENDINGS = (".png", "_labelTrainIds.png", "_gtFine_labelTrainIds.png")


@dataclass(frozen=True)
class SourcePrediction:
    """What a source-taxonomy segmenter says about one image, at working size (h, w).

    Attributes:
        labels: (h, w) unsigned integers, source class of every pixel.
        probabilities: (K, h, w) float, where soft votes ask for them.
    """

    labels: np.ndarray
    probabilities: np.ndarray | None = None


class SourcePredictor(ABC):
    """A segmenter in the source taxonomy, or its stored predictions."""

    @abstractmethod
    def key(self, path: Path, name: str) -> str:
        """Names everything but the image itself that its prediction depends on."""

    def prepare(self) -> None:  # noqa: B027
        """Loads what every image needs."""

    @abstractmethod
    def predict(
        self,
        image: np.ndarray,
        name: str,
        shape: tuple[int, int],
        resize: str = "logits",
        probabilities: bool = False,
    ) -> SourcePrediction:
        """Predicts one image.

        Args:
            image: (H, W, 3) uint8 BGR at its own size.
            name: Path of the image below its root without suffix.
            shape: Working height and width.
            resize: ``logits`` or ``labels``, see :class:`Options`.
            probabilities: Whether they are needed.

        Raises:
            UserError: There is no prediction for this image.
        """


class LabelFolder(SourcePredictor):
    """Stored predictions: PNGs of source class ids, at the image's path below ``folder``.

    Args:
        folder: Root of the files, such as ``ids`` or ``color`` of ``tools/infer.py``.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise UserError(
                f"There is no folder {folder} of source predictions.",
                fix="python tools/infer.py CONFIG CHECKPOINT IMAGES --out DIR --write ids makes "
                "one.",
            )

    def find(self, name: str) -> Path:
        """The file of an image.

        Raises:
            UserError: There is none.
        """
        for ending in LABEL_ENDINGS:
            path = self.folder / f"{name}{ending}"
            if path.is_file():
                return path
        near = similar(self.folder / f"{name}.png")
        raise UserError(
            f"{self.folder} holds no source prediction {name}.png"
            f"{f' (there is {near})' if near else ''}.",
            fix="Its files have to be named as the images, in the same subfolders.",
        )

    def key(self, path: Path, name: str) -> str:
        """The content of the image's file."""
        return f"labels-{file_digest(self.find(name))}"

    def predict(
        self,
        image: np.ndarray,
        name: str,
        shape: tuple[int, int],
        resize: str = "logits",
        probabilities: bool = False,
    ) -> SourcePrediction:
        """The stored labels, nearest neighbour; see :class:`SourcePredictor`."""
        if probabilities:
            raise UserError(
                "Stored labels have no probabilities, which soft votes need.",
                fix="Give the segmenter's config and checkpoint, or use hard votes.",
            )
        return SourcePrediction(nearest(read_label(str(self.find(name))), shape))
