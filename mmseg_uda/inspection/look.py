"""A look at the content of some files: as many as a training can wait for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from PIL import Image

from mmseg_uda.errors import UserError
from mmseg_uda.labels import Counts, Header, count_ids, read_depth, read_image, read_label
from mmseg_uda.labels.reading import read_whole

PIXELS = 32_000_000  # per kind of file: all of a small data set, 16 frames of GTA
FEWEST = 8
THREADS = 8
T = TypeVar("T")


@dataclass(frozen=True)
class Values:
    """Values of an image or depth file.

    Attributes:
        low: The lowest.
        high: The highest, in the file's own bits.
        bits: Per channel.
        transparent: Whether pixels are transparent.
    """

    low: int
    high: int
    bits: int = 8
    transparent: bool = False


@dataclass(frozen=True)
class LabelContent:
    """What a label file holds.

    Attributes:
        counts: Pixels by id.
        palette: Id -> RGB, for the ids that occur in a file with a palette.
    """

    counts: Counts
    palette: dict[int, tuple[int, int, int]]


def chosen(headers: Sequence[Header | UserError], pixels: int = PIXELS) -> list[int]:
    """Chooses files to look at: all if they are small, else some that are spread evenly.

    Of every kind of file (pixel type, bits, format) the first is among them.

    Returns:
        Positions of readable headers, in order.
    """
    sound = [(i, h) for i, h in enumerate(headers) if isinstance(h, Header)]
    every = sum(h.width * h.height for _, h in sound)
    count = len(sound) if every <= pixels else max(FEWEST, pixels * len(sound) // every)
    count = min(count, len(sound))
    spread = {sound[i * len(sound) // count][0] for i in range(count)}
    kinds = {(h.mode, h.bits, h.format, h.orientation): i for i, h in reversed(sound)}
    return sorted(spread | set(kinds.values()))


def look_at(paths: Sequence[str], read: Callable[[str], T]) -> dict[str, T | UserError]:
    """Reads files in threads; what is wrong with a file stands in its place."""

    def attempt(path: str) -> T | UserError:
        try:
            return read(path)
        except UserError as error:
            return error

    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        return dict(zip(paths, pool.map(attempt, paths), strict=True))


def newer_than(file: Path, paths: Iterable[str]) -> list[str]:
    """Returns the newest of the paths that were written after a file, at most ``FEWEST``."""
    written, newest = file.stat().st_mtime_ns, []
    for path in paths:
        try:
            newest.append((os.stat(path).st_mtime_ns, path))
        except OSError:
            continue
    return [path for at, path in sorted(newest, reverse=True)[:FEWEST] if at > written]


def image_values(path: str) -> Values:
    """Decodes an image.

    Raises:
        UserError: It is damaged.
    """
    raw = cv2.imdecode(np.frombuffer(read_whole(path), np.uint8), cv2.IMREAD_UNCHANGED)
    if raw is None or raw.dtype not in (np.uint8, np.uint16):
        raw = read_image(path)  # says what is wrong, or reads it another way
    transparent = raw.ndim == 3 and raw.shape[2] == 4
    colours = raw[..., :3] if transparent else raw
    least = np.iinfo(raw.dtype).max if not transparent else int(raw[..., 3].min())
    return Values(
        int(colours.min()),
        int(colours.max()),
        8 * raw.itemsize,
        transparent and least < np.iinfo(raw.dtype).max,
    )


def depth_values(path: str) -> Values:
    """Decodes a depth file.

    Raises:
        UserError: It is damaged or holds no depth.
    """
    depth = read_depth(path)
    return Values(int(depth.min()), int(depth.max()), 8 * depth.itemsize)


def label_content(path: str) -> LabelContent:
    """Decodes a label file.

    Raises:
        UserError: It is damaged or holds no ids.
    """
    pixels = count_ids(read_label(path))
    counts = {int(i): int(pixels[i]) for i in np.flatnonzero(pixels)}
    with Image.open(path) as image:
        flat = (image.getpalette("RGB") or []) if image.mode == "P" else []
    colours = [tuple(flat[i : i + 3]) for i in range(0, len(flat) - 2, 3)]
    return LabelContent(
        counts, {i: (c[0], c[1], c[2]) for i, c in enumerate(colours) if i in counts}
    )
