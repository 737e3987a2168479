"""Which files of a folder are images, and how the names of their labels differ from theirs."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from statistics import median_low

from mmseg_uda.errors import UserError
from mmseg_uda.labels import Header, read_headers
from mmseg_uda.taxonomy.folders import IMAGE_ENDINGS, walk

VOTES = 50  # images whose nearest label names are looked for
HEADERS = 200  # images whose size is read
LABEL_MODES = ("L", "P", "1")  # of Pillow: one value per pixel


@dataclass(frozen=True)
class Images:
    """The images of a domain, with their labels if it has any.

    Attributes:
        folder: Absolute path of the image folder.
        suffix: End of the names in use.
        names: Images in use, relative to the folder.
        size: (width, height) of most of them, in pixels.
        label_folder: Absolute path of the label folder; None without labels.
        label_suffix: What replaces ``suffix`` in the names of labels.
        others: Images that are not used: those with another ending or without a label.
        listed: Whether the images in use have to be listed, as others end alike.
    """

    folder: Path
    suffix: str
    names: tuple[str, ...]
    size: tuple[int, int]
    label_folder: Path | None = None
    label_suffix: str = ""
    others: tuple[str, ...] = ()
    listed: bool = False

    @property
    def labels(self) -> list[str]:
        """Path of every image's label."""
        cut = -len(self.suffix)
        return [f"{self.label_folder}/{name[:cut]}{self.label_suffix}" for name in self.names]


def find_images(folder: str | Path) -> Images:
    """Finds the images below a folder: those with the most frequent ending.

    Raises:
        UserError: There is no such folder, or no image in it.
    """
    root = _folder(folder)
    names = _image_files(root)
    suffix = Counter(os.path.splitext(name)[1] for name in names).most_common(1)[0][0]
    used = tuple(name for name in names if name.endswith(suffix))
    others = tuple(name for name in names if not name.endswith(suffix))
    return Images(root, suffix, used, _size(root, used), others=others)


def find_pairs(image_folder: str | Path, label_folder: str | Path) -> Images:
    """Finds images and their labels, in parallel folders or in one.

    A label lies in the sub-folder that its image lies in, and its name begins like the image's:
    ``a/01_camera.jpg`` and ``a/01_ids.png``. What follows has to be the same for all of them; the
    most frequent pair of endings counts.

    Raises:
        UserError: There is no such folder, no image, or no image with a label.
    """
    root, label_root = _folder(image_folder), _folder(label_folder)
    images = _image_files(root)
    if root == label_root:
        headers = read_headers([str(root / name) for name in images], f"Looking at {root}")
        modes = [one.mode if isinstance(one, Header) else "" for one in headers]
        labels = [n for n, mode in zip(images, modes, strict=True) if mode in LABEL_MODES]
        images = [n for n, mode in zip(images, modes, strict=True) if mode not in LABEL_MODES]
    else:
        labels = _image_files(label_root)
    endings = _endings(images, labels)
    known = set(labels)
    best: tuple[str, str, list[str]] = "", "", []
    for image_end, label_end in endings:
        paired = [
            name
            for name in images
            if name.endswith(image_end) and f"{name[: -len(image_end)]}{label_end}" in known
        ]
        if len(paired) > len(best[2]):
            best = image_end, label_end, paired
    suffix, label_suffix, used = best
    if not used:
        raise _no_pair(root, label_root, images, labels)
    taken = set(used)
    others = tuple(name for name in images if name not in taken)
    alike = any(name.endswith(suffix) for name in {*_image_files(root)} - taken)
    size = _size(root, used)
    return Images(root, suffix, tuple(used), size, label_root, label_suffix, others, alike)


def _folder(folder: str | Path) -> Path:
    path = Path(folder).expanduser().absolute()
    if not path.is_dir():
        raise UserError(
            f"{folder} is no folder.",
            fix="Give the folder that holds the files; sub-folders count.",
        )
    return Path(os.path.normpath(path))


def _image_files(folder: Path) -> list[str]:
    found = sorted(walk(folder, lambda name: name.lower().endswith(IMAGE_ENDINGS)))
    if not found:
        raise UserError(
            f"There is no image below {folder}.",
            fix=f"Give another folder; images end with {', '.join(IMAGE_ENDINGS[:3])}, ...",
        )
    return found


def _endings(images: Sequence[str], labels: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of endings that turn an image's name into that of a label, the most frequent first."""
    beside = defaultdict(list)
    for label in labels:
        path = PurePosixPath(label)
        beside[path.parent].append(path.name)
    votes: Counter[tuple[str, str]] = Counter()
    for name in images[:: max(1, len(images) // VOTES)]:
        path = PurePosixPath(name)
        found = [_split(path.name, label) for label in beside[path.parent]]
        longest = max((length for length, _ in found), default=0)
        votes.update({ends for length, ends in found if length == longest > 0})
    return [ends for ends, _ in votes.most_common(10)]


def _split(image: str, label: str) -> tuple[int, tuple[str, str]]:
    """Length of what two names have in common at their beginning, and how both go on."""
    common = len(os.path.commonprefix([os.path.splitext(image)[0], os.path.splitext(label)[0]]))
    if common < len(os.path.splitext(image)[0]):
        # Not in the midst of a word or number: 01_rgb and 01_red have 01 in common.
        cut = max((found.start() for found in re.finditer(r"[_\-. ]", image[:common])), default=0)
        common = cut
    return common, (image[common:], label[common:])


def _no_pair(
    root: Path, label_root: Path, images: Sequence[str], labels: Sequence[str]
) -> UserError:
    shown = f"the first image is {images[0] if images else 'none'}"
    shown += f", the first label {labels[0] if labels else 'none'}"
    return UserError(
        f"No image below {root} has a label below {label_root}: {shown}.",
        fix="A label lies in the same sub-folder as its image, and its name begins alike: "
        "a/01.jpg and a/01_ids.png. Rename the files, or make links that are called so.",
    )


def _size(root: Path, names: Sequence[str]) -> tuple[int, int]:
    """(width, height) of most of some images."""
    some = names[:: max(1, len(names) // HEADERS)]
    read = read_headers([str(root / name) for name in some], f"Sizes of {root}")
    shapes = [one.shape for one in read if isinstance(one, Header)]
    if not shapes:
        raise next(one for one in read if isinstance(one, UserError))
    return median_low(width for _, width in shapes), median_low(height for height, _ in shapes)
