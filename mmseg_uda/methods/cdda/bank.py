"""A bank of source crops on disk: histograms, images, labels.

A folder holds ``meta.json``, ``counts.npy`` (C, N, 256; float32, whole numbers), ``index.jsonl``
(where each crop is from, check sums), and ``images/``, ``labels/``, ``depth/`` with ``<n>.png``.
The matrices of CDDA's own tool (``<data set>_<N>_distribution.pth``, beside ``images/`` and
``labels/``) are read, too.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from mmseg_uda.archives import check_archive
from mmseg_uda.errors import UserError
from mmseg_uda.files import read_json
from mmseg_uda.methods.cdda.histogram import BINS
from mmseg_uda.regular_files import read_bytes

FORMAT = 1
META, COUNTS, INDEX = "meta.json", "counts.npy", "index.jsonl"
IMAGES, LABELS, DEPTH = "images", "labels", "depth"
PUBLISHED = "*_distribution.pth"
BUILD = "python tools/build_depth_bank.py --config CONFIG --out {path}"


@dataclass(frozen=True)
class BankMeta:
    """What a bank was made from and how; two banks with equal values have equal content.

    Attributes:
        count: N.
        classes: Names of the C classes; empty in a bank of CDDA's own tool, which has none.
        num_classes: C.
        crop_size: (height, width) of the training crops in pixels.
        remap, rate: Of the depth, see ``LoadRemappedDepth``.
        dataset: What was drawn from.
        sampling: ``rcs`` or ``uniform``.
        seed: Of the draws.
        counts_sha256: Of the counts; empty while there are none.
    """

    count: int
    num_classes: int
    crop_size: tuple[int, int]
    classes: tuple[str, ...] = ()
    remap: str = ""
    rate: float = 0.0
    dataset: str = ""
    sampling: str = ""
    seed: int = 0
    counts_sha256: str = ""

    def as_json(self) -> dict[str, Any]:
        """The content of ``meta.json``."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, content: Any, path: Path) -> BankMeta:
        """The reverse.

        Raises:
            UserError: The file is of another format or damaged.
        """
        values = dict(content) if isinstance(content, Mapping) else {}
        if values.pop("format", None) != FORMAT:
            raise UserError(f"{path} is not of format {FORMAT}.", fix=_rebuild(path.parent))
        try:
            values["crop_size"] = tuple(values["crop_size"])
            values["classes"] = tuple(values["classes"])
            meta = cls(**values)
        except (KeyError, TypeError) as error:
            raise UserError(f"{path} is damaged: {error}.", fix=_rebuild(path.parent)) from error
        wrong = [name for name, right in _KINDS.items() if not right(getattr(meta, name))]
        if wrong:
            text = f"{path} is damaged: {wrong[0]} {getattr(meta, wrong[0])!r}."
            raise UserError(text, fix=_rebuild(path.parent))
        return meta


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# What the entries of a bank's ``meta.json`` may hold.
_KINDS: dict[str, Callable[[Any], bool]] = {
    "count": _is_count,
    "num_classes": _is_count,
    "crop_size": lambda size: len(size) == 2 and all(map(_is_count, size)),
    "classes": lambda names: all(map(_is_text, names)),
    "remap": _is_text,
    "rate": lambda rate: isinstance(rate, (int, float)),
    "dataset": _is_text,
    "sampling": _is_text,
    "seed": _is_count,
    "counts_sha256": _is_text,
}


class DepthBank:
    """A complete bank; open one with :meth:`open`.

    Attributes:
        path: Its folder.
        meta: How it was made.
        counts: (C, N, 256) float32, mapped into memory where the format allows it.
        fingerprint: 32 bytes that change with the content.
    """

    def __init__(
        self,
        path: Path,
        meta: BankMeta,
        counts: np.ndarray,
        fingerprint: bytes,
        checksums: Mapping[str, list[int]] | None = None,
    ) -> None:
        self.path = path
        self.meta = meta
        self.counts = counts
        self.fingerprint = fingerprint
        self._checksums = checksums or {}

    def __len__(self) -> int:
        return self.meta.count

    @classmethod
    def open(cls, path: str | Path) -> DepthBank:
        """Opens a bank's folder, or a ``.pth`` matrix of CDDA's own tool, and checks its content.

        Raises:
            UserError: There is no bank, it is not complete, or a file is damaged.
        """
        path = Path(path)
        published = [path] if path.suffix == ".pth" else sorted(path.glob(PUBLISHED))
        if (path / META).is_file():
            return cls._open_own(path)
        if published and published[0].is_file():
            return cls._open_published(published[0])
        raise UserError(f"There is no bank of source crops in {path}.", fix=_rebuild(path))

    @classmethod
    def _open_own(cls, path: Path) -> DepthBank:
        content = read_json(path / META)
        if content is None:
            raise UserError(f"{path / META} cannot be read.", fix=_rebuild(path))
        meta = BankMeta.from_json(content, path / META)
        if not meta.counts_sha256:
            raise UserError(
                f"The bank in {path} has crops, but no histograms yet.",
                fix=f"python run_seg.py --config CONFIG --source_preprocessed_path {path} "
                "--not_get_images.",
            )
        shape = (meta.num_classes, meta.count, BINS)
        try:
            # Copy on write: torch wants memory that it may write to.
            counts = np.load(path / COUNTS, mmap_mode="c")
            checksums = _read_index(path / INDEX, meta.count)
        except (OSError, ValueError, EOFError, LookupError, TypeError, RecursionError) as error:
            raise UserError(
                f"The bank in {path} is damaged: {error}.", fix=_rebuild(path)
            ) from error
        if counts.shape != shape or counts.dtype != np.float32:
            raise UserError(
                f"{path / COUNTS} holds {counts.dtype} of shape {counts.shape}, but {META} tells "
                f"of float32 of shape {shape}.",
                fix=_rebuild(path),
            )
        digest = hash_counts(counts)
        if digest != meta.counts_sha256:
            raise UserError(
                f"{path / COUNTS} is damaged: its check sum is not that of {META}.",
                fix=_rebuild(path),
            )
        index = (path / INDEX).read_bytes() if (path / INDEX).is_file() else b""
        fingerprint = hashlib.sha256(digest.encode() + index).digest()
        return cls(path, meta, counts, fingerprint, checksums)

    @classmethod
    def _open_published(cls, file: Path) -> DepthBank:
        folder = file.parent
        try:
            check_archive(file)
            matrix = torch.load(file, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # junk makes the unpickler raise anything
            reason = str(error).splitlines()[0] if str(error) else repr(error)
            raise UserError(f"{file} cannot be read: {reason}.", fix=_rebuild(folder)) from error
        shape = getattr(matrix, "shape", None)
        if shape is None or len(shape) != 3 or shape[2] != BINS:
            raise UserError(
                f"{file} holds no (N, classes, {BINS}) matrix: {shape or type(matrix).__name__}.",
                fix=_rebuild(folder),
            )
        counts = matrix.float().permute(1, 0, 2).contiguous().numpy()
        if not (np.isfinite(counts).all() and (counts >= 0).all()):
            text = f"{file} is damaged: it holds numbers that count no pixels."
            raise UserError(text, fix=_rebuild(folder))
        size = (0, 0)
        first = folder / LABELS / "0.png"
        if first.is_file():
            size = _decode(first, first.read_bytes(), cv2.IMREAD_UNCHANGED).shape[:2]
        meta = BankMeta(len(matrix), matrix.shape[1], size, dataset=file.name.split("_")[0])
        fingerprint = hashlib.sha256(hash_counts(counts).encode()).digest()
        return cls(folder, meta, counts, fingerprint)

    def missing_crops(self) -> list[str]:
        """Names of image and label files that are not there."""
        missing = []
        for kind in (IMAGES, LABELS):
            folder = self.path / kind
            found = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
            missing += [
                f"{kind}/{n}.png" for n in range(self.meta.count) if f"{n}.png" not in found
            ]
        return missing

    def read_crop(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Image (h, w, 3) uint8 RGB and trainIds (h, w) uint8 of an entry.

        Raises:
            UserError: A file is missing, damaged, or not the one that the bank was made with.
        """
        image, label = (
            self._read(f"{kind}/{index}.png", flags)
            for kind, flags in ((IMAGES, cv2.IMREAD_COLOR), (LABELS, cv2.IMREAD_UNCHANGED))
        )
        if label.ndim == 3:  # CDDA's own tool writes three equal channels
            label = label[..., 0]
        return np.ascontiguousarray(image[..., ::-1]), np.ascontiguousarray(label)

    def _read(self, name: str, flags: int) -> np.ndarray:
        path = self.path / name
        data = read_bytes(path, self._fix())
        kind, _, file = name.partition("/")
        if kind in self._checksums:
            expected = self._checksums[kind][int(file.removesuffix(".png"))]
            if zlib.crc32(data) != expected:
                raise UserError(
                    f"{path} is not the file that the bank was built with.", fix=self._fix()
                )
        return _decode(path, data, flags)

    def _fix(self) -> str:
        return _rebuild(self.path)


def hash_counts(counts: np.ndarray) -> str:
    """SHA-256 of counts, read class by class."""
    digest = hashlib.sha256()
    for part in counts:
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def _read_index(path: Path, count: int) -> dict[str, list[int]]:
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8") as file:
        entries = [json.loads(line)["crc32"] for line in file]
    if len(entries) != count:
        raise ValueError(f"{path.name} lists {len(entries)} crops instead of {count}")
    return {kind: [entry[kind] for entry in entries] for kind in (IMAGES, LABELS)}


def _decode(path: Path, data: bytes, flags: int) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if image is None:
        raise UserError(f"{path} is damaged.", fix=_rebuild(path.parents[1]))
    return image


def _rebuild(path: Path) -> str:
    folder = path.parent if path.suffix == ".pth" else path
    return f"Build it: {BUILD.format(path=folder)} (--force replaces what is there)."
