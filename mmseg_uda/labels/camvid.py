"""CamVid as its authors distribute it: colour-coded PNGs ``<frame>_L.png`` of 32 classes."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np

from mmseg_uda.errors import UserError
from mmseg_uda.files import write_text
from mmseg_uda.taxonomy import LIST_FOLDER, load_taxonomy
from mmseg_uda.taxonomy.folders import Leftovers, scan
from mmseg_uda.wording import listed

from .batches import Converted, check_size, run
from .conversion import LABEL_SUFFIX, count_classes, warn_of_others, write_label, write_statistics
from .reading import decode, read_whole

TAXONOMY = "camvid11"
IMAGES, LABELS = "701_StillsRaw_full", "LabeledApproved_full"
SUFFIX = "_L.png"

# The 32 classes: RGB colour (label_colors.txt of the data set) and the class of camvid11 that
# SegNet merges it into; None is unlabelled.
CLASSES: dict[str, tuple[tuple[int, int, int], str | None]] = {
    "Animal": ((64, 128, 64), "pedestrian"),
    "Archway": ((192, 0, 128), "building"),
    "Bicyclist": ((0, 128, 192), "bicyclist"),
    "Bridge": ((0, 128, 64), "building"),
    "Building": ((128, 0, 0), "building"),
    "Car": ((64, 0, 128), "car"),
    "CartLuggagePram": ((64, 0, 192), "pedestrian"),
    "Child": ((192, 128, 64), "pedestrian"),
    "Column_Pole": ((192, 192, 128), "pole"),
    "Fence": ((64, 64, 128), "fence"),
    "LaneMkgsDriv": ((128, 0, 192), "road"),
    "LaneMkgsNonDriv": ((192, 0, 64), "road"),
    "Misc_Text": ((128, 128, 64), "sign symbol"),
    "MotorcycleScooter": ((192, 0, 192), "bicyclist"),
    "OtherMoving": ((128, 64, 64), "car"),
    "ParkingBlock": ((64, 192, 128), "pavement"),
    "Pedestrian": ((64, 64, 0), "pedestrian"),
    "Road": ((128, 64, 128), "road"),
    "RoadShoulder": ((128, 128, 192), "pavement"),
    "Sidewalk": ((0, 0, 192), "pavement"),
    "SignSymbol": ((192, 128, 128), "sign symbol"),
    "Sky": ((128, 128, 128), "sky"),
    "SUVPickupTruck": ((64, 128, 192), "car"),
    "TrafficCone": ((0, 0, 64), "pole"),
    "TrafficLight": ((0, 64, 64), "sign symbol"),
    "Train": ((192, 64, 128), "car"),
    "Tree": ((128, 128, 0), "tree"),
    "Truck_Bus": ((192, 128, 192), "car"),
    "Tunnel": ((64, 0, 64), "building"),
    "VegetationMisc": ((192, 192, 0), "tree"),
    "Void": ((0, 0, 0), None),
    "Wall": ((64, 192, 0), "building"),
}
UNKNOWN = 254  # in the table of colours; neither a trainId nor the ignored id
MANY = len(CLASSES)  # more unknown colours than this are those of a scaled or compressed picture


def convert_camvid(
    root: Path, gt_dir: str = LABELS, out_dir: Path | None = None, nproc: int = 4
) -> None:
    """Writes ``X_L_labelTrainIds.png`` beside each ``X_L.png``, the statistics and SegNet's split.

    The labels hold the trainIds of ``camvid11``. ``splits/<split>.txt``, one frame per line, tell
    which frames SegNet trains, validates and tests on.

    Args:
        root: Root folder of the data set.
        gt_dir: Label folder below it.
        out_dir: Folder for statistics and lists; None: the root.
        nproc: Number of processes.

    Raises:
        UserError: No label files; or some that could not be converted: the others are.
    """
    folder, out_dir = root / gt_dir, out_dir or root
    files = _find_labels(folder)
    convert = partial(_convert, labels=folder, images=root / IMAGES)
    batch = run(convert, files, nproc, "Converting CamVid labels")
    write_statistics(out_dir, batch.statistics)
    frames: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for file in batch.converted:
        frame = file.name[: -len(SUFFIX)]
        frames[split_of(frame)].append(frame)
    for split, names in frames.items():
        write_text(out_dir / LIST_FOLDER / f"{split}.txt", "".join(f"{name}\n" for name in names))
    batch.report(folder, out_dir)


def split_of(frame: str) -> str:
    """Returns the split of SegNet's tutorial that a frame is in.

    >>> split_of("0001TP_006690"), split_of("0016E5_07959"), split_of("Seq05VD_f00000")
    ('train', 'val', 'test')
    """
    sequence, _, digits = frame.partition("_")
    digits = digits.lstrip("f")
    number = int(digits) if digits.isdigit() else -1
    if sequence == "Seq05VD" or (sequence == "0001TP" and number >= 8550):
        return "test"
    return "val" if sequence == "0016E5" and 7959 <= number <= 8159 else "train"


def _find_labels(folder: Path) -> list[Path]:
    left = Leftovers()
    names = sorted(scan(folder, SUFFIX, left))
    warn_of_others(folder, names, [*left.others, *left.unusable], ".png")
    if not names:
        raise UserError(
            f"No label files <frame>{SUFFIX} in {folder}.",
            fix=f"Give the root folder of the data set, which holds {IMAGES} and {LABELS}, and "
            "--gt-dir if its label folder has another name; SegNet's folders trainannot, valannot "
            "and testannot hold ids and need no conversion.",
        )
    return [folder / name for name in names]


@cache
def _table() -> np.ndarray:
    """trainId of every RGB colour, as one number of 24 bits; uint8, (1 << 24,)."""
    space = load_taxonomy(TAXONOMY)
    table = np.full(1 << 24, UNKNOWN, np.uint8)
    for (red, green, blue), name in CLASSES.values():
        train_id = space.ignore_index if name is None else space.class_id(name)
        table[red << 16 | green << 8 | blue] = train_id
    return table


def _convert(path: Path, labels: Path, images: Path) -> Converted:
    picture = decode(read_whole(path), path, cv2.IMREAD_UNCHANGED)
    if picture.ndim != 3 or picture.dtype != np.uint8:
        raise UserError(
            f"{path} has no colours of 8 bits, but shape {picture.shape}, {picture.dtype}.",
            fix="Use the colour-coded labels of the data set; ids need no conversion.",
        )
    frame = path.relative_to(labels)
    image = images / frame.with_name(frame.name[: -len(SUFFIX)] + ".png")
    check_size(path, (picture.shape[0], picture.shape[1]), image)
    blue, green, red = (picture[..., i].astype(np.int32) for i in range(3))
    colours = red << 16 | green << 8 | blue
    label = _table()[colours]
    unknown = np.unique(colours[label == UNKNOWN]).tolist()
    named = listed([f"({c >> 16}, {c >> 8 & 255}, {c & 255})" for c in unknown])
    if len(unknown) > MANY:
        raise UserError(
            f"{path} holds {len(unknown)} colours that stand for no class of CamVid: {named}.",
            fix="Use the PNGs as distributed; scaling with interpolation and JPEG mix colours.",
        )
    ignored = load_taxonomy(TAXONOMY).ignore_index
    label[label == UNKNOWN] = ignored
    target = path.with_name(path.stem + LABEL_SUFFIX)
    write_label(target, label)
    kind = "they hold colours that stand for no class of CamVid and become unlabelled"
    return Converted(target, count_classes(label, ignored), {kind: named} if unknown else {})
