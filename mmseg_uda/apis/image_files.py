"""Which images are to be predicted, and what their predictions are called."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmseg_uda.errors import UserError
from mmseg_uda.regular_files import why_no_file

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
    """Find images in files and, recursively, in folders.

    Predictions keep the folder structure; if several folders are given, each under its own name.
    Files of one name that differ only in their suffix keep it (``a.jpg`` and ``a.png`` give
    ``a.jpg.png`` and ``a.png.png``). Hidden files are left out, and so is the output folder, which
    may lie inside an input.

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
            names = sorted(_images_below(root, Path(out).resolve()))
            if not names:
                raise UserError(
                    f"There is no image in {root}.", f"Known are {', '.join(IMAGE_SUFFIXES)}."
                )
            prefix = Path(root.resolve().name) if several else Path()
            found += [(root / name, prefix / name) for name in names]
        elif root.is_file():
            found.append((root, Path(root.name)))
        elif os.path.lexists(root):
            raise UserError(f"{root} {why_no_file(root)}.", "Give images, and folders of images.")
        else:
            raise UserError(f"There is no file or folder {root}.", "Check the path.")
    return _named(found)


def _images_below(root: Path, out: Path) -> Iterator[Path]:
    seen = {out}  # links may lead back to a folder above them
    for folder, subfolders, files in os.walk(root, followlinks=True):
        here = Path(folder)
        if here.resolve() in seen:
            subfolders.clear()
            continue
        seen.add(here.resolve())
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in files:
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."):
                yield (here / name).relative_to(root)


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
                "Predict them in two calls with different --out folders.",
            )
    return list(files.values())
