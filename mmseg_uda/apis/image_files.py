"""Which images are to be predicted, and what their predictions are called."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from mmengine.logging import print_log

from mmseg_uda.apis.prediction_files import LEGEND, SETTINGS
from mmseg_uda.errors import UserError
from mmseg_uda.inspection.folder import check_folder, check_links
from mmseg_uda.regular_files import why_no_file
from mmseg_uda.taxonomy.companions import kinds
from mmseg_uda.taxonomy.folders import Leftovers, walk

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


@dataclass(frozen=True)
class ImageFile:
    """An image and the name of its predictions.

    Attributes:
        path: The file.
        name: Path of the predictions below each output folder, without suffix.
    """

    path: Path
    name: str


def find_images(inputs: Sequence[str | Path], out: str | Path) -> list[ImageFile]:
    """Finds images in files and, recursively, in folders.

    Predictions keep the folder structure; if several folders are given, each under its own name.
    Files of one name that differ only in their suffix keep it (``a.jpg`` and ``a.png`` give
    ``a.jpg.png`` and ``a.png.png``). Hidden files are left out, and so is the output folder, which
    may lie inside an input, and predictions that an earlier call has written there. What a folder
    holds and what of it is left out is logged.

    Args:
        inputs: Files and folders.
        out: Where predictions will be written.

    Returns:
        Images by input, sorted by path within one.

    Raises:
        UserError: An input does not exist or holds no image, or two images would be written to
            the same file.
    """
    roots = [Path(item) for item in inputs]
    several = sum(root.is_dir() for root in roots) > 1
    found: list[tuple[Path, Path]] = []  # file, its place below the output
    for root in roots:
        if root.is_dir():
            names = _images_below(root, Path(os.path.realpath(out)))
            if not names:
                raise UserError(
                    f"There is no image in {root}.", fix=f"Known are {', '.join(IMAGE_SUFFIXES)}."
                )
            prefix = Path(root.resolve().name) if several else Path()
            found += [(root / name, prefix / name) for name in names]
        elif root.is_file():
            if root.suffix.lower() not in IMAGE_SUFFIXES and not cv2.haveImageReader(str(root)):
                raise UserError(
                    f"{root} is no image that can be read.",
                    fix=f"Give images ({', '.join(IMAGE_SUFFIXES)}), and folders of images.",
                )
            found.append((root, Path(root.name)))
        elif os.path.lexists(root):
            raise UserError(
                f"{root} {why_no_file(root)}.", fix="Give images, and folders of images."
            )
        else:
            raise UserError(f"There is no file or folder {root}.", fix="Check the path.")
    return _named(found)


def _images_below(root: Path, out: Path) -> list[str]:
    """Names of the images below a folder, sorted; says what they are and what is left out."""
    left = Leftovers()
    found = walk(root, lambda name: name.lower().endswith(IMAGE_SUFFIXES), left, (str(out),))
    # What turns out to be no file is told with the images that cannot be predicted.
    names = sorted([*found, *left.unusable])
    earlier = _earlier_predictions(root, names)
    if earlier:
        names = [name for name in names if not name.startswith(tuple(earlier))]
        print_log(
            f"{root}: {', '.join(earlier)} hold predictions, which are not predicted again.",
            logger="current",
            level=logging.WARNING,
        )
    images: dict[str, str] = {}
    for name in names:
        stem = os.path.splitext(name)[0]
        images[name if stem in images else stem] = name
    told = [*check_folder(str(root), images, left), *check_links(str(root), root, names, left)]
    for finding in told:
        print_log(str(finding), logger="current", level=logging.WARNING)
    if names:
        print_log(f"{root}: {len(names)} images ({kinds(names)})", logger="current")
    return names


def _earlier_predictions(root: Path, names: Sequence[str]) -> list[str]:
    """Folders among the images that an earlier call has filled, each with a slash behind it."""
    legends = [name.removesuffix(LEGEND) for name in names if name.endswith(f"/{LEGEND}")]
    return [folder for folder in legends if (root / folder / SETTINGS).is_file()]


def _named(found: Sequence[tuple[Path, Path]]) -> list[ImageFile]:
    stems: dict[Path, set[Path]] = {}
    for _, place in found:
        stems.setdefault(place.with_suffix(""), set()).add(place)
    files: dict[str, ImageFile] = {}
    for path, place in found:
        alone = len(stems[place.with_suffix("")]) == 1
        name = (place.with_suffix("") if alone else place).as_posix()
        other = files.setdefault(name, ImageFile(path, name))
        if os.path.realpath(other.path) != os.path.realpath(path):  # of a loop of links, too
            raise UserError(
                f"Predictions of {other.path} and {path} would have the same name.",
                fix="Predict them in two calls with different --out folders.",
            )
    return list(files.values())
