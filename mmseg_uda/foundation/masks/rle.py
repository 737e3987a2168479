"""COCO's run-length encoding of binary masks, without pycocotools.

A mask is read column by column. Its *runs* are half-open intervals of that flat order, ascending,
none empty and none touching the next; *counts* are the lengths of alternating background and
foreground stretches, background first; the *compressed* text stores differences of counts in
groups of five bits, six bits per character from '0' on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Runs = tuple[np.ndarray, np.ndarray]


def mask_to_runs(mask: np.ndarray, corner: tuple[int, int] = (0, 0), height: int = 0) -> Runs:
    """Runs of a mask, or of a window of a larger mask.

    Args:
        mask: (h, w) bool or 0/1.
        corner: x and y of the window's first pixel in the larger mask.
        height: Height of the larger mask in pixels; 0 where ``mask`` is all of it.

    Returns:
        Starts and ends, both (R,) int64.
    """
    window = np.asarray(mask, dtype=bool)
    rows = window.shape[0]
    height = height or rows
    # One background pixel below each column keeps runs of neighbouring columns apart.
    padded = np.zeros((window.shape[1], rows + 1), dtype=bool)
    padded[:, :rows] = window.T
    flat = padded.ravel()
    change = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat[:1].any():
        change = np.concatenate([[0], change])
    starts, ends = change[0::2], change[1::2]
    column, start = np.divmod(starts, rows + 1)
    offset = (column + corner[0]) * height + corner[1]
    return join_runs(offset + start, offset + start + (ends - starts))


def join_runs(starts: np.ndarray, ends: np.ndarray) -> Runs:
    """Joins ascending runs that touch each other."""
    if len(starts) == 0:
        return starts.astype(np.int64), ends.astype(np.int64)
    gap = starts[1:] > ends[:-1]
    return (
        starts[np.concatenate([[True], gap])].astype(np.int64),
        ends[np.concatenate([gap, [True]])].astype(np.int64),
    )


def runs_to_mask(starts: np.ndarray, ends: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Mask (H, W) bool of runs; ``size`` is (H, W)."""
    height, width = size
    step = np.zeros(height * width + 1, dtype=np.int8)
    step[starts] += 1
    step[ends] -= 1
    return np.cumsum(step[:-1], dtype=np.int8).astype(bool).reshape(width, height).T


def runs_to_counts(starts: np.ndarray, ends: np.ndarray, pixels: int) -> np.ndarray:
    """Counts (C,) int64 of runs in a mask of ``pixels`` pixels; a last count of 0 is left out."""
    edges = np.concatenate([np.stack([starts, ends], axis=1).ravel(), [pixels]])
    counts = np.diff(edges, prepend=0)
    return counts[:-1] if len(counts) > 1 and counts[-1] == 0 else counts


def counts_to_runs(counts: Sequence[int] | np.ndarray, pixels: int) -> Runs:
    """Runs of counts.

    Raises:
        ValueError: A count is negative, or they do not add up to ``pixels``.
    """
    lengths = np.asarray(counts, dtype=np.int64)
    if (lengths < 0).any() or lengths.sum() != pixels:
        raise ValueError(f"run lengths add up to {int(lengths.sum())} instead of {pixels} pixels")
    edges = np.cumsum(lengths)
    ends = edges[1::2]
    starts = edges[0::2][: len(ends)]
    filled = ends > starts
    return join_runs(starts[filled], ends[filled])


def compress(counts: np.ndarray) -> str:
    """The compressed text of counts."""
    values = np.array(counts, dtype=np.int64)
    values[3:] -= np.asarray(counts, dtype=np.int64)[1:-2]
    digits: list[np.ndarray] = []
    more = np.ones(len(values), dtype=bool)
    present = []
    while more.any():
        present.append(more)
        digit = values & 0x1F
        values = values >> 5
        sign = digit & 0x10 != 0
        more = more & np.where(sign, values != -1, values != 0)
        digits.append(digit + np.where(more, 0x20, 0) + 48)
    if not digits:
        return ""
    table, keep = np.stack(digits, axis=1), np.stack(present, axis=1)
    return table[keep].astype(np.uint8).tobytes().decode("ascii")


def decompress(text: str | bytes) -> np.ndarray:
    """Counts (C,) int64 of the compressed text.

    Raises:
        ValueError: The text holds a character outside the code or ends within a number.
    """
    raw = text.encode("ascii", "replace") if isinstance(text, str) else bytes(text)
    codes = np.frombuffer(raw, dtype=np.uint8).astype(np.int64) - 48
    if len(codes) == 0:
        return np.zeros(0, dtype=np.int64)
    if (codes < 0).any() or (codes > 63).any() or codes[-1] & 0x20:
        raise ValueError("the run-length text is damaged")
    last = np.flatnonzero(codes & 0x20 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    length = last - first + 1
    if length.max() > 12:
        raise ValueError("the run-length text is damaged")
    position = np.arange(len(codes)) - np.repeat(first, length)
    values = np.add.reduceat((codes & 0x1F) << (5 * position), first)
    values = np.where(codes[last] & 0x10 != 0, values - (np.int64(1) << (5 * length)), values)
    # Each number from the fourth on is the difference to the one two places before.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def encode(starts: np.ndarray, ends: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    """COCO's compressed object ``{"size": [H, W], "counts": text}`` of runs."""
    counts = runs_to_counts(starts, ends, size[0] * size[1])
    return {"size": [int(size[0]), int(size[1])], "counts": compress(counts)}


def decode(segmentation: Mapping[str, Any]) -> tuple[Runs, tuple[int, int]]:
    """Runs and (H, W) of COCO's object, whose counts may be compressed or a list.

    Raises:
        ValueError: It is no such object, or its counts do not fit its size.
    """
    if not isinstance(segmentation, Mapping) or not {"size", "counts"} <= set(segmentation):
        raise ValueError("no run-length mask: 'size' and 'counts' are needed")
    height, width = (int(side) for side in segmentation["size"])
    counts = segmentation["counts"]
    if isinstance(counts, (str, bytes)):
        counts = decompress(counts)
    return counts_to_runs(counts, height * width), (height, width)
