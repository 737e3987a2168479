"""Cityscapes: polygons in JSON files, or label id PNGs where the polygons are missing."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from mmseg_uda.errors import UserError
from mmseg_uda.files import write_text
from mmseg_uda.regular_files import read_text
from mmseg_uda.taxonomy import LAYOUTS
from mmseg_uda.taxonomy.folders import Leftovers, scan

from .batches import Converted, check_size, run
from .conversion import (
    LABEL_SUFFIX,
    count_classes,
    doubtful_ids,
    raw_table,
    taxonomy,
    warn_of_others,
    write_label,
    write_statistics,
)
from .reading import read_label

POLYGONS = "_polygons.json"
LABEL_IDS = "_labelIds.png"
PICTURE = "_color.png"
"""Of the same annotation, and no source of labels."""
GROUP = "group"
IMAGES = "leftImg8bit"

_NAMES = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic"),
    *("ground", "road", "sidewalk", "parking", "rail track", "building", "wall", "fence"),
    *("guard rail", "bridge", "tunnel", "pole", "polegroup", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "caravan"),
    *("trailer", "train", "motorcycle", "bicycle"),
)
LABELS = {**{name: label_id for label_id, name in enumerate(_NAMES)}, "license plate": -1}
"""Names of the labels of Cityscapes -> id."""


def convert_cityscapes(
    root: Path, gt_dir: str = "gtFine", out_dir: Path | None = None, nproc: int = 1
) -> None:
    """Writes ``*_labelTrainIds.png`` beside the annotations, statistics and split lists.

    The statistics cover the training split. ``train.txt``, ``val.txt`` and ``test.txt`` list the
    samples of each split as ``city/name``.

    Raises:
        UserError: No annotations; or some that could not be converted: the others are, and stand in
            statistics and lists.
    """
    folder = _unpacked(root, gt_dir)
    annotations = _find_annotations(folder)
    if not annotations:
        raise UserError(
            f"No *{POLYGONS} or *{LABEL_IDS} in {folder}.",
            fix="Give the root folder of Cityscapes with gtFine unpacked, or --gt-dir.",
        )
    convert = partial(_convert, folder=folder, images=_unpacked(root, IMAGES))
    files = {folder / name: name for name in annotations}
    batch = run(convert, list(files), nproc, "Converting Cityscapes labels")
    converted = {files[file]: one for file, one in batch.converted.items()}
    train = [name for name in converted if "train" in Path(name).parts]
    out_dir = out_dir or root
    if converted:
        write_statistics(out_dir, [(converted[n].path, converted[n].counts) for n in train])
    for split in ("train", "val", "test"):
        names = [name for name in converted if name.startswith(f"{split}/")]
        stems = [_stem(name[len(split) + 1 :]) for name in names]
        if stems:
            write_text(out_dir / f"{split}.txt", "".join(f"{stem}\n" for stem in stems))
    batch.report(folder, out_dir)


def _unpacked(root: Path, name: str) -> Path:
    """A folder of an archive, which may have been unpacked into one that is called like itself."""
    inner = root / f"{name}_trainvaltest" / name
    return inner if inner.is_dir() and not (root / name).is_dir() else root / name


def rasterize(annotation: Any, path: Path, left_out: list[str] | None = None) -> np.ndarray:
    """Draws polygons in the order of the file, the later over the earlier.

    As in the benchmark's own tools: background and labels without a trainId are 255, deleted
    objects and labels with a negative id are left out, ``<label>group`` counts as its label.

    Args:
        annotation: Content of a ``*_polygons.json`` file.
        path: Its path, for messages.
        left_out: Gets the labels of polygons that cannot be drawn: of fewer than two points, not of
            finite numbers, or wholly outside the image.

    Returns:
        uint8 trainIds, (h, w).

    Raises:
        UserError: It is no such annotation, or has a label that Cityscapes does not have.
    """
    space = taxonomy()
    train_ids = raw_table(space, "cityscapes", 256)
    try:
        size = size_of(annotation)
        image = Image.new("L", size, space.ignore_index)
        draw = ImageDraw.Draw(image)
        for item in annotation["objects"]:
            label_id = LABELS.get(_label(item["label"]))
            if item.get("deleted"):
                continue
            if label_id is None:
                raise UserError(
                    f"{path}: '{item['label']}' is no label of Cityscapes.",
                    fix=f"Correct the annotation; labels are {', '.join(_NAMES[7:12])}, ...",
                )
            points = _points(item.get("polygon"), size)
            if points is None and left_out is not None:
                left_out.append(str(item["label"]))
            if points is not None and label_id >= 0:
                draw.polygon(points, fill=int(train_ids[label_id]))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, MemoryError) as error:
        raise UserError(
            f"{path} is no polygon annotation of Cityscapes: {error!r}.",
            fix="Replace the file, or remove it with its image.",
        ) from error
    return np.array(image)


def size_of(annotation: Any) -> tuple[int, int]:
    """Returns (width, height) of an annotation's image."""
    return int(annotation["imgWidth"]), int(annotation["imgHeight"])


def _label(name: str) -> str:
    return name[: -len(GROUP)] if name not in LABELS and name.endswith(GROUP) else name


def _number(value: Any) -> float:
    return value if isinstance(value, int) else float(value)


def _points(polygon: Any, size: tuple[int, int]) -> list[tuple[float, float]] | None:
    """The points of a polygon that can be drawn."""
    try:
        points = [(_number(x), _number(y)) for x, y in polygon]
    except (TypeError, ValueError):
        return None
    array = np.array(points).reshape(-1, 2)
    if len(array) < 2 or not np.isfinite(array).all():
        return None
    if (array.max(0) < 0).any() or (array.min(0) > size).any():
        return None
    return points


def _find_annotations(folder: Path) -> list[str]:
    """Returns one annotation per frame, polygons before label ids, sorted."""
    left = Leftovers()
    polygons = {name[: -len(POLYGONS)]: name for name in scan(folder, POLYGONS, left)}
    label_ids = {name[: -len(LABEL_IDS)]: name for name in scan(folder, LABEL_IDS, left)}
    found = {**label_ids, **polygons}
    pictures = [name for name in scan(folder, PICTURE) if name[: -len(PICTURE)] not in found]
    warn_of_others(folder, list(found.values()), [*left.unusable, *pictures], POLYGONS)
    return [name for _, name in sorted(found.items())]


def _stem(name: str) -> str:
    for suffix in (POLYGONS, LABEL_IDS):
        name = name.removesuffix(suffix)
    return name.removesuffix("_gtFine").removesuffix("_gtCoarse")


def _convert(path: Path, folder: Path, images: Path) -> Converted:
    space, left_out = taxonomy(), []  # type: ignore[var-annotated]
    name = path.relative_to(folder).as_posix()
    image = images / f"{_stem(name)}{LAYOUTS['Cityscapes'].img_suffix}"
    doubts: dict[str, str] = {}
    if name.endswith(POLYGONS):
        annotation = _read(path)
        label = rasterize(annotation, path, left_out)
        target = path.with_name(path.name.removesuffix(POLYGONS) + LABEL_SUFFIX)
        if left_out:
            doubts = {"polygons that cannot be drawn are left out": ", ".join(left_out)}
    else:
        raw = read_label(str(path))
        label = raw_table(space, "cityscapes", 256)[raw]
        target = path.with_name(path.name.removesuffix(LABEL_IDS) + LABEL_SUFFIX)
        doubts = doubtful_ids(space, "cityscapes", np.unique(raw).tolist())
    check_size(path, (label.shape[0], label.shape[1]), image)
    write_label(target, label)
    return Converted(target, count_classes(label, space.ignore_index), doubts)


def _read(path: Path) -> Any:
    again = "Replace the file, or remove it with its image."
    try:
        return json.loads(read_text(path, again))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {error}.", fix=again) from error
