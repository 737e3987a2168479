"""Writes predictions as pictures and id maps, and remembers how they were made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from mmseg_uda.apis.prediction import Prediction
from mmseg_uda.apis.segmentor import taxonomy_of
from mmseg_uda.errors import UserError
from mmseg_uda.evaluation.streaming_iou import written_ids
from mmseg_uda.files import read_json, replacing, write_json
from mmseg_uda.places import require_folder
from mmseg_uda.visualization.canvas import Classes, legend

KINDS = ("color", "ids", "overlay")
HRDA_KINDS = ("lr", "hr", "attention")
TRAIN_IDS, TAXONOMY_IDS = "train", "taxonomy"
SETTINGS = "settings.json"
LEGEND = "legend.png"
LEGEND_WIDTH = 640


class PredictionFolder:
    """A folder of predictions, one subfolder per kind.

    ``color``: palette PNG, which looks coloured and holds trainIds. ``ids``: grey PNG of ids.
    ``overlay``: the image with the colours over it. ``lr``, ``hr``: labels of HRDA's scales, as
    ``color``. ``attention``: grey PNG, white where HRDA looks at the detail scale.

    Args:
        root: The folder.
        model: As ``init_segmentor`` returns; brings classes, colours and ids.
        kinds: Which of ``KINDS`` and ``HRDA_KINDS``.
        opacity: Of the overlay's colours, 0..1.
        ids: ``'train'`` for trainIds, the name of one of the taxonomy's ``raw_ids`` (such as
            ``'cityscapes'``) for that data set's ids, ``'taxonomy'`` for the first of them.

    Raises:
        UserError: Unknown ids, or an opacity outside 0..1.
    """

    def __init__(
        self,
        root: str | Path,
        model: Any,
        kinds: Sequence[str] = KINDS,
        opacity: float = 0.5,
        ids: str = TRAIN_IDS,
    ) -> None:
        if not 0 <= opacity <= 1:
            raise UserError(f"The overlay's opacity {opacity} is not in 0..1.", fix="Use 0.5.")
        self.root = Path(root)
        self.kinds = tuple(dict.fromkeys(kinds))
        self.opacity = opacity
        self.classes = Classes.of(model.dataset_meta)
        self.palette = [value for color in self.classes.colors for value in color]
        self.id_table = _id_table(model, ids)

    def paths(self, name: str) -> dict[str, Path]:
        """Returns the files of one image's predictions by kind."""
        return {kind: self.root / kind / f"{name}.png" for kind in self.kinds}

    def is_finished(self, name: str) -> bool:
        """Whether every file of an image is there; files are written whole or not at all."""
        return all(path.is_file() for path in self.paths(name).values())

    def write(self, name: str, image: np.ndarray, prediction: Prediction) -> None:
        """Writes one image's predictions.

        Args:
            name: Place below each kind's folder, without suffix.
            image: uint8, (H, W, 3) BGR.
            prediction: Of that image.
        """
        for kind, path in self.paths(name).items():
            picture = self._picture(kind, image, prediction)
            with replacing(path) as temporary:
                picture.save(temporary, format="PNG", compress_level=3)

    def start(self, settings: dict[str, Any], overwrite: bool) -> None:
        """Writes the legend, and what the predictions are made with.

        Args:
            settings: Plain values that change the predictions.
            overwrite: Forget what was there.

        Raises:
            UserError: The folder cannot be written to, or holds predictions made with other
                settings.
        """
        require_folder(self.root)
        settings = json.loads(json.dumps(settings, default=str))  # as they are read back
        before = read_json(self.root / SETTINGS)
        if before is not None and before != settings and not overwrite:
            changed = [k for k in settings if before.get(k) != settings[k]]
            changed += [k for k in before if k not in settings]
            raise UserError(
                f"{self.root} holds predictions that were made otherwise (different: "
                f"{', '.join(changed)}).",
                fix="Give another --out, or --overwrite.",
            )
        write_json(self.root / SETTINGS, settings)
        entries = list(zip(self.classes.names, self.classes.colors, strict=True))
        with replacing(self.root / LEGEND) as temporary:
            ImageOps.expand(legend(entries, LEGEND_WIDTH), 10, "white").save(temporary)

    def _picture(self, kind: str, image: np.ndarray, prediction: Prediction) -> Image.Image:
        if kind == "ids":
            return Image.fromarray(self.id_table[prediction.label])
        if kind == "overlay":
            colors = self.classes.paint(prediction.label).astype(np.float32)
            mixed = (1 - self.opacity) * image[..., ::-1] + self.opacity * colors
            return Image.fromarray(np.rint(mixed).astype(np.uint8))
        if kind == "attention":
            assert prediction.attention is not None
            return Image.fromarray(np.rint(255 * prediction.attention).astype(np.uint8))
        label = prediction.label if kind == "color" else getattr(prediction, kind)
        picture = Image.fromarray(label.astype(np.uint8), mode="P")
        picture.putpalette(self.palette)
        return picture


def weights_digest(model: Any) -> str:
    """Returns a value that tells a model's weights from others."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        values = value.detach().cpu().contiguous().flatten()
        digest.update(values.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _id_table(model: Any, ids: str) -> np.ndarray:
    """What is written for each trainId; uint8, (256,)."""
    if ids == TRAIN_IDS:
        return np.arange(256, dtype=np.uint8)
    taxonomy = taxonomy_of(model)
    if taxonomy is None or not taxonomy.raw_ids:
        raise UserError(
            f"--ids {ids}: no taxonomy of this network lists the ids of a data set.",
            fix="Use --ids train, or add raw_ids to the taxonomy's file.",
        )
    name = next(iter(taxonomy.raw_ids)) if ids == TAXONOMY_IDS else ids
    return written_ids(taxonomy, name)[0]
