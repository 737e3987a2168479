"""Drawing a bank of source crops: parallel, resumable, all or nothing."""

from __future__ import annotations

import fcntl
import io
import json
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from mmseg_uda.archives import read_arrays
from mmseg_uda.errors import UserError
from mmseg_uda.files import read_json, replacing, write_json, write_text
from mmseg_uda.labels import read_depth, read_image, read_label
from mmseg_uda.loader import WatchedLoader
from mmseg_uda.methods.cdda.bank import (
    COUNTS,
    DEPTH,
    IMAGES,
    INDEX,
    LABELS,
    META,
    BankMeta,
    hash_counts,
)
from mmseg_uda.methods.cdda.drawing import BankDraws
from mmseg_uda.methods.cdda.histogram import BINS, depth_histogram
from mmseg_uda.progress import track

KINDS = (IMAGES, LABELS, DEPTH)
SHARDS = "shards"
SHARD = 256
SAMPLED = 8  # crops from which the size of the bank is estimated
RESERVE = 1.1


def build_bank(
    draws: BankDraws,
    out: str | Path,
    workers: int = 4,
    histograms: bool = True,
    force: bool = False,
    strict: bool = True,
) -> Path:
    """Draws a bank, or finishes one that was begun, or finds that it is there.

    Everything is written under ``<out>.partial`` in shards; a shard that is whole is not drawn
    again. The folder gets its name when the bank is complete. Several processes may call this at
    once: one builds, the others wait for it.

    Args:
        draws: What to draw.
        out: Folder of the bank.
        workers: Loader processes; the result does not depend on them.
        histograms: False leaves the counts to :func:`count_bank`.
        force: Replace a bank or a beginning that was made with other settings.
        strict: Whether a finished bank that was made with other settings is an error.

    Returns:
        ``out``.

    Raises:
        UserError: ``out`` holds something else, or the disk is too small.
    """
    out = Path(out)
    partial = out.with_name(f"{out.name}.partial")
    with locked(out.with_name(f".{out.name}.lock")):
        if _is_done(draws.meta, out, histograms, force, strict):
            return out
        _begin(draws.meta, partial, force)
        _draw(draws, partial, workers)
        _finish(draws.meta, partial, histograms)
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
        shutil.rmtree(out / SHARDS)
    return out


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for and holds an exclusive lock; the file stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_done(meta: BankMeta, out: Path, histograms: bool, force: bool, strict: bool) -> bool:
    if not out.exists() or not any(out.iterdir()):
        return False
    content = read_json(out / META)
    if content is None:
        if force:
            return False
        raise UserError(
            f"{out} exists and holds no bank.", fix="Choose another folder, or --force."
        )
    found = BankMeta.from_json(content, out / META)
    differing = differences(meta, found)
    if differing and strict:
        if force:
            return False
        raise UserError(
            f"{out} holds a bank that was made with other settings: {'; '.join(differing)}.",
            fix="Choose another folder, or --force to replace it.",
        )
    if found.counts_sha256 or not histograms:
        return True
    if force:
        return False
    raise UserError(
        f"{out} has crops, but no histograms yet.",
        fix="Count them with --not_get_images (run_seg.py), or --force to draw them anew.",
    )


def differences(wanted: BankMeta, found: BankMeta) -> list[str]:
    """What differs in how two banks are made, in words."""
    names = ("count", "classes", "crop_size", "remap", "rate", "dataset", "sampling", "seed")
    return [
        f"{name} {getattr(found, name)!r} instead of {getattr(wanted, name)!r}"
        for name in names
        if getattr(found, name) != getattr(wanted, name)
    ]


def _begin(meta: BankMeta, partial: Path, force: bool) -> None:
    content = read_json(partial / META)
    if content is not None:
        differing = differences(meta, BankMeta.from_json(content, partial / META))
        if differing and not force:
            raise UserError(
                f"{partial} holds the beginning of another bank: {'; '.join(differing)}.",
                fix="Delete it, or --force.",
            )
        if not differing:
            return
    if partial.exists():
        shutil.rmtree(partial)
    for folder in (*KINDS, SHARDS):
        (partial / folder).mkdir(parents=True)
    write_json(partial / META, meta.as_json())


class _Writer(Dataset):
    """Draws an entry, writes its pictures, returns its counts and its line of the index."""

    def __init__(self, draws: BankDraws, folder: Path, numbers: Sequence[int]) -> None:
        self.draws = draws
        self.folder = folder
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, position: int) -> tuple[np.ndarray, dict[str, Any], int]:
        number = self.numbers[position]
        drawn = self.draws[number]
        checksums, size = {}, 0
        pictures = (drawn.image, drawn.label, drawn.depth)
        for kind, picture in zip(KINDS, pictures, strict=True):
            data = cv2.imencode(".png", picture)[1].tobytes()
            checksums[kind] = zlib.crc32(data)
            size += len(data)
            (self.folder / kind / f"{number}.png").write_bytes(data)
        counts = count_pixels(drawn.label, drawn.depth, self.draws.meta.num_classes)
        return counts, {"n": number, **drawn.origin, "crc32": checksums}, size


def count_pixels(label: np.ndarray, depth: np.ndarray, num_classes: int) -> np.ndarray:
    """(C, 256) float32 counts of one crop, from (h, w) uint8 trainIds and depths."""
    counts = depth_histogram(
        torch.from_numpy(label)[None].long(), torch.from_numpy(depth)[None], num_classes
    )
    return counts[0].numpy().astype(np.float32)


def _draw(draws: BankDraws, partial: Path, workers: int) -> None:
    shards = range(0, len(draws), SHARD)
    wanted = [s for s in shards if not _shard(partial, s).is_file()]
    numbers = [n for s in wanted for n in range(s, min(s + SHARD, len(draws)))]
    if not numbers:
        return
    loader = WatchedLoader(
        _Writer(draws, partial, numbers),
        batch_size=None,
        num_workers=min(workers, len(numbers)),
        collate_fn=_as_is,
        worker_init_fn=_one_thread if workers else None,
        # The loader seeds its workers; the training's random numbers stay out of it.
        generator=torch.Generator(),
    )
    lines: list[dict[str, Any]] = []
    counts: list[np.ndarray] = []
    sizes: list[int] = []
    title = f"Drawing {len(draws)} source crops to {partial.name.removesuffix('.partial')}"
    for number, (pixels, line, size) in zip(numbers, track(loader, title), strict=True):
        counts.append(pixels)
        lines.append(line)
        if len(sizes) < SAMPLED:
            sizes.append(size)
            if len(sizes) == min(SAMPLED, len(numbers)):
                _check_space(partial, float(np.mean(sizes)), len(numbers), draws.meta)
        if number + 1 == len(draws) or (number + 1) % SHARD == 0:
            _write_shard(_shard(partial, number // SHARD * SHARD), counts, lines)
            lines, counts = [], []


def _shard(partial: Path, first: int) -> Path:
    return partial / SHARDS / f"{first:07d}.npz"


def _write_shard(path: Path, counts: list[np.ndarray], lines: list[dict[str, Any]]) -> None:
    buffer = io.BytesIO()
    text = "".join(json.dumps(line) + "\n" for line in lines)
    np.savez(buffer, counts=np.stack(counts, axis=1), lines=np.array(text))
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def _check_space(folder: Path, crop_bytes: float, crops: int, meta: BankMeta) -> None:
    needed = crop_bytes * crops + meta.num_classes * meta.count * BINS * 4
    free = shutil.disk_usage(folder).free
    print(f"The bank will take about {_size(needed)} in {folder.parent}.")
    if needed * RESERVE > free:
        raise UserError(
            f"The bank needs about {_size(needed)}, but {folder.parent} has {_size(free)} free.",
            fix="Free some space, choose another folder, or draw fewer crops (--count); what has "
            "been drawn is kept.",
        )


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _finish(meta: BankMeta, partial: Path, histograms: bool) -> None:
    files = sorted((partial / SHARDS).glob("*.npz"))
    text = []
    counts = _new_counts(partial, meta) if histograms else None
    for file, first in zip(files, range(0, meta.count, SHARD), strict=True):
        shard = read_arrays(file)
        text.append(str(shard["lines"]))
        if counts is not None:
            counts[:, first : first + SHARD] = shard["counts"]
    write_text(partial / INDEX, "".join(text))
    if counts is not None:
        _seal(meta, partial, counts)


def _new_counts(folder: Path, meta: BankMeta) -> np.memmap:
    shape = (meta.num_classes, meta.count, BINS)
    return np.lib.format.open_memmap(folder / COUNTS, mode="w+", dtype=np.float32, shape=shape)


def _seal(meta: BankMeta, folder: Path, counts: np.memmap) -> None:
    counts.flush()
    write_json(folder / META, replace(meta, counts_sha256=hash_counts(counts)).as_json())


def count_bank(folder: str | Path, meta: BankMeta) -> Path:
    """Counts the crops of a folder that has none of our histograms.

    Crops may be those of CDDA's own tool (label and depth with three equal channels, more crops
    than entries).

    Args:
        folder: With ``labels/`` and ``depth/``.
        meta: The bank that it is meant to be.

    Raises:
        UserError: A crop is missing, damaged or of another size.
    """
    folder = Path(folder)
    content = read_json(folder / META)
    if content is not None:
        meta = BankMeta.from_json(content, folder / META)
        if meta.counts_sha256:
            return folder
    fix = "Draw the crops first: leave --not_get_images out."
    absent = [f for f in _crop_files(folder, meta.count) if not f.is_file()]
    if absent:
        raise UserError(f"{absent[0]} is missing ({len(absent)} files in all).", fix=fix)
    counts = _new_counts(folder, meta)
    title = f"Counting the crops in {folder.name}"
    for n in track(range(meta.count), title):
        paths = [folder / kind / f"{n}.png" for kind in (LABELS, DEPTH)]
        try:
            label, depth = _read_one_channel(paths[0]), read_depth(str(paths[1]))
        except UserError as error:
            raise UserError(error.message, fix=fix) from error
        fits = all(a <= b for a, b in zip(label.shape, meta.crop_size, strict=True))
        if depth.shape != label.shape or not fits:
            raise UserError(
                f"{paths[0]} has {label.shape[1]}x{label.shape[0]} pixels, {paths[1]} "
                f"{depth.shape[1]}x{depth.shape[0]}; the training crops are "
                f"{meta.crop_size[1]}x{meta.crop_size[0]}.",
                fix="Draw the crops with the config that is trained.",
            )
        counts[:, n] = count_pixels(label, depth, meta.num_classes)
    _seal(meta, folder, counts)
    return folder


def _crop_files(folder: Path, count: int) -> Iterator[Path]:
    for n in range(count):
        yield from (folder / kind / f"{n}.png" for kind in (LABELS, DEPTH))


def _read_one_channel(path: Path) -> np.ndarray:
    try:
        return read_label(str(path))
    except UserError:
        picture = read_image(str(path))  # three equal channels, or an error that names the file
        return np.ascontiguousarray(picture[..., 0])


def _as_is(item: Any) -> Any:
    return item


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
