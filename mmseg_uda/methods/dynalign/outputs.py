"""What is written for the user, in the published layout.

``labels``: palette PNG of target ids at the image's own size. ``confidence``: grey PNG of
round(255 · p). ``json``: regions and label map as Semantic-Segment-Anything writes them, for
exchange. ``images``: the input file.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmseg_uda.errors import UserError
from mmseg_uda.files import replacing, temporary_prefix, write_json
from mmseg_uda.foundation.masks import MaskSet, rle
from mmseg_uda.labels import read_label, read_whole
from mmseg_uda.methods.dynalign.relabel import Relabelled
from mmseg_uda.methods.dynalign.running import Item

LABELS, CONFIDENCE, JSON, IMAGES = "labels", "confidence", "json", "images"
KINDS = (LABELS, CONFIDENCE, JSON, IMAGES)
LABEL_FOLDERS = (LABELS, "label")  # the published README has the second name
IMAGE_FILES = ("link", "copy", "png")


class Outputs:
    """The folders of one run.

    Args:
        root: Folder of all results.
        names: Target classes, by id.
        palette: RGB per target id, 0..255.
        kinds: Which of ``KINDS``; labels are always written.
        image_files: How ``images`` are made: ``link`` and ``copy`` keep the file's suffix, ``png``
            copies the bytes under the name ``.png``, as published.
        ignore_name: Name of regions without a source class in ``json``.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        palette: Sequence[Sequence[int]],
        kinds: Sequence[str] = (LABELS, CONFIDENCE),
        image_files: str = "link",
        ignore_name: str = "unlabelled",
    ) -> None:
        for given, known in (*((k, KINDS) for k in kinds), (image_files, IMAGE_FILES)):
            if given not in known:
                raise UserError(
                    f"There is no output {given!r}.", fix=f"Give one of {', '.join(known)}."
                )
        self.root = Path(root)
        self.names = tuple(names)
        self.palette = [int(value) for color in palette[:256] for value in color]
        self.kinds = tuple(dict.fromkeys([LABELS, *kinds]))
        self.image_files = image_files
        self.ignore_name = ignore_name

    def path(self, kind: str, item: Item) -> Path:
        """The file of one kind."""
        ending = {JSON: "_semantic.json", IMAGES: self._image_suffix(item)}.get(kind, ".png")
        return self.root / kind / f"{item.name}{ending}"

    def are_there(self, item: Item) -> bool:
        """Whether every file of an image is there; files are written whole or not at all."""
        return all(self.path(kind, item).is_file() for kind in self.kinds)

    def write(
        self, item: Item, masks: MaskSet, result: Relabelled, size: tuple[int, int]
    ) -> np.ndarray:
        """Writes one image's files.

        Args:
            item: The image.
            masks: M regions at working size.
            result: The aligned prediction at working size.
            size: Height and width of the image file.

        Returns:
            (H, W) ids as written to ``labels``.
        """
        labels, confidence = result.at(size)
        self._save(self._colored(labels), self.path(LABELS, item))
        if CONFIDENCE in self.kinds:
            self._save(Image.fromarray(confidence), self.path(CONFIDENCE, item))
        if JSON in self.kinds:
            content = ssa_content(masks, self._class_names(result), labels)
            write_json(self.path(JSON, item), content, indent=None)
        if IMAGES in self.kinds:
            self._place_image(item)
        return labels

    def _colored(self, labels: np.ndarray) -> Image.Image:
        if labels.dtype != np.uint8:
            return Image.fromarray(labels)
        picture = Image.fromarray(labels, mode="P")
        picture.putpalette(self.palette)
        return picture

    def _class_names(self, result: Relabelled) -> list[str]:
        ids = result.decision.ids.tolist()
        return [self.names[i] if 0 <= i < len(self.names) else self.ignore_name for i in ids]

    def _save(self, picture: Image.Image, path: Path) -> None:
        with replacing(path) as temporary:
            picture.save(temporary, format="PNG", compress_level=3)

    def _image_suffix(self, item: Item) -> str:
        return ".png" if self.image_files == "png" else item.path.suffix

    def _place_image(self, item: Item) -> None:
        path = self.path(IMAGES, item)
        if self.image_files != "link":
            with replacing(path) as temporary:
                shutil.copyfile(item.path, temporary)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not by ``replacing``, which would change the mode of the file that the link leads to.
        link = path.with_name(f"{temporary_prefix(path.stem)}0000link{path.suffix}")
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.abspath(item.path))
        os.replace(link, path)


def ssa_content(masks: MaskSet, names: Sequence[str], labels: np.ndarray) -> dict[str, Any]:
    """Regions and label map as Semantic-Segment-Anything's JSON.

    Args:
        masks: M regions at working size.
        names: Class of each.
        labels: (H, W) target ids at the image's own size.

    Returns:
        ``annotations``: records in painting order, largest first; ``semantic_mask``: run lengths of
        each id that occurs.
    """
    order = masks.order()
    records = masks.select(order).to_coco()
    for record, m in zip(records, order.tolist(), strict=True):
        record.update(class_name=names[m], class_proposals=names[m])
    semantic = {
        str(value): rle.encode(*rle.mask_to_runs(labels == value), labels.shape)
        for value in np.unique(labels).tolist()
    }
    return {"annotations": records, "semantic_mask": semantic}


def semantic_map(content: dict[str, Any], background: int = 0) -> np.ndarray:
    """The label map of Semantic-Segment-Anything's JSON.

    Args:
        content: With ``semantic_mask``, run lengths by id.
        background: Id of pixels that are in none.

    Returns:
        (H, W) uint8, or uint16 where an id needs it.

    Raises:
        UserError: The content has no label map, or a damaged one.
    """
    try:
        entries = {int(key): rle.decode(value) for key, value in content["semantic_mask"].items()}
        (size,) = {size for _, size in entries.values()}
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"The JSON holds no label map: {error}",
            fix="It needs run lengths under 'semantic_mask'.",
        ) from error
    wide = max(entries, default=0) > np.iinfo(np.uint8).max
    labels = np.full(size, background, np.uint16 if wide else np.uint8)
    for value, (runs, _) in sorted(entries.items()):
        labels[rle.runs_to_mask(*runs, size)] = value
    return labels


def label_folder(root: str | Path) -> Path:
    """The folder of label maps in a folder of results: ``labels``, or ``label`` as upstream's.

    Raises:
        UserError: There is neither.
    """
    for name in LABEL_FOLDERS:
        if (folder := Path(root) / name).is_dir():
            return folder
    raise UserError(
        f"{root} holds no label maps.", fix=f"They are in one of {', '.join(LABEL_FOLDERS)}."
    )


def read_label_map(path: Path) -> np.ndarray:
    """(H, W) uint8 or uint16 ids of a file that :class:`Outputs` or upstream has written.

    Raises:
        UserError: The file is missing, damaged, or no map of ids.
    """
    try:
        with Image.open(io.BytesIO(read_whole(path))) as image:
            if image.mode.startswith("I;16"):
                return np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        pass  # the next line says what is wrong
    return read_label(str(path))
