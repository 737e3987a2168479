"""Cityscapes: polygons in JSON files, or label id PNGs where the polygons are missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mmseg_uda.errors import UserError
from mmseg_uda.files import replacing
from mmseg_uda.taxonomy.folders import Leftovers, scan

from .conversion import (
    LABEL_SUFFIX,
    Counts,
    count_classes,
    raw_table,
    run_parallel,
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
        UserError: No annotations, or damaged ones.
    """
    folder = root / gt_dir
    annotations = _find_annotations(folder)
    if not annotations:
        raise UserError(
            f"No *{POLYGONS} or *{LABEL_IDS} in {folder}.",
            fix="give the root folder of Cityscapes with gtFine unpacked, or --gt-dir",
        )
    files = [folder / name for name in annotations]
    converted = run_parallel(_convert, files, nproc, "Converting Cityscapes labels")
    train = [
        result
        for name, result in zip(annotations, converted, strict=True)
        if "train" in Path(name).parts
    ]
    out_dir = out_dir or root
    write_statistics(out_dir, train)
    for split in ("train", "val", "test"):
        stems = [
            _stem(name[len(split) + 1 :]) for name in annotations if name.startswith(f"{split}/")
        ]
        if stems:
            with replacing(out_dir / f"{split}.txt") as temporary:
                temporary.write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")


def rasterize(annotation: dict, path: Path) -> np.ndarray:
    """Draws polygons in the order of the file, the later over the earlier.

    As in the benchmark's own tools: background and labels without a trainId are 255, deleted
    objects and labels with a negative id are left out, ``<label>group`` counts as its label.

    Args:
        annotation: Content of a ``*_polygons.json`` file.
        path: Its path, for messages.

    Returns:
        uint8 trainIds, (h, w).
    """
    space = taxonomy()
    train_ids = raw_table(space, "cityscapes", 256)
    try:
        size = (int(annotation["imgWidth"]), int(annotation["imgHeight"]))
        image = Image.new("L", size, space.ignore_index)
        draw = ImageDraw.Draw(image)
        for item in annotation["objects"]:
            name = item["label"]
            if item.get("deleted"):
                continue
            if name not in LABELS and name.endswith(GROUP):
                name = name[: -len(GROUP)]
            if name not in LABELS:
                raise UserError(
                    f"{path}: '{item['label']}' is no label of Cityscapes.",
                    fix="download the annotations again",
                )
            label_id = LABELS[name]
            if label_id >= 0:
                points = [(x, y) for x, y in item["polygon"]]
                draw.polygon(points, fill=int(train_ids[label_id]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is no polygon annotation of Cityscapes: {error!r}.",
            fix="download the annotations again",
        ) from error
    return np.array(image)


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


def _convert(path: Path) -> tuple[Path, Counts]:
    if path.name.endswith(POLYGONS):
        try:
            annotation = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(
                f"{path} is not valid JSON: {error}.", fix="download the annotations again"
            ) from error
        label = rasterize(annotation, path)
        target = path.with_name(path.name.removesuffix(POLYGONS) + LABEL_SUFFIX)
    else:
        label = raw_table(taxonomy(), "cityscapes", 256)[read_label(str(path))]
        target = path.with_name(path.name.removesuffix(LABEL_IDS) + LABEL_SUFFIX)
    write_label(target, label)
    return target, count_classes(label, taxonomy().ignore_index)
