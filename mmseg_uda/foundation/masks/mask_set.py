"""All regions of one image as runs, so that no full-size mask is ever stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmseg_uda.archives import read_arrays
from mmseg_uda.errors import UserError
from mmseg_uda.files import replacing
from mmseg_uda.foundation.masks import rle


@dataclass(frozen=True, eq=False)
class MaskSet:
    """M regions of an image of H × W pixels (they may overlap).

    Attributes:
        size: (H, W).
        starts: (R,) int32, first pixel of each run in column-major flat order.
        ends: (R,) int32, the pixel after each run.
        offsets: (M + 1,) int64, the runs of region m are ``offsets[m]:offsets[m + 1]``.
        area: (M,) int32 pixels.
        box: (M, 4) int32 x1, y1, x2, y2, inclusive; zeros where a region is empty.
        score: (M,) float32, the proposer's own estimate of quality.
        stability: (M,) float32, how little the region depends on the threshold.
    """

    size: tuple[int, int]
    starts: np.ndarray
    ends: np.ndarray
    offsets: np.ndarray
    area: np.ndarray
    box: np.ndarray
    score: np.ndarray
    stability: np.ndarray

    def __len__(self) -> int:
        return len(self.area)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MaskSet):
            return NotImplemented
        return self.size == other.size and all(
            np.array_equal(getattr(self, f.name), getattr(other, f.name))
            for f in fields(self)
            if f.name != "size"
        )

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def from_runs(
        cls,
        runs: Sequence[rle.Runs],
        size: tuple[int, int],
        score: Sequence[float] | np.ndarray | None = None,
        stability: Sequence[float] | np.ndarray | None = None,
    ) -> MaskSet:
        """Regions of one pair of starts and ends each; scores are 1 where absent."""
        count = np.array([len(starts) for starts, _ in runs], dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        empty = [np.zeros(0, np.int64)]
        starts = np.concatenate([s for s, _ in runs] or empty)
        ends = np.concatenate([e for _, e in runs] or empty)
        return cls._of(size, starts, ends, offsets, score, stability)

    @classmethod
    def from_masks(
        cls,
        masks: Iterable[np.ndarray],
        size: tuple[int, int],
        score: Sequence[float] | np.ndarray | None = None,
        stability: Sequence[float] | np.ndarray | None = None,
    ) -> MaskSet:
        """Regions of masks (H, W) bool, taken one by one.

        Raises:
            ValueError: A mask has another size.
        """
        runs = []
        for mask in masks:
            if mask.shape != tuple(size):
                raise ValueError(f"a mask of {mask.shape} pixels in an image of {tuple(size)}")
            runs.append(rle.mask_to_runs(mask))
        return cls.from_runs(runs, size, score, stability)

    @classmethod
    def from_label_map(cls, labels: np.ndarray) -> MaskSet:
        """One region per non-negative value of (H, W) integers, in ascending order."""
        height, width = labels.shape
        flat = np.ascontiguousarray(labels.T).ravel()
        edges = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
        starts, ends = edges[:-1], edges[1:]
        value = flat[starts] if flat.size else flat
        keep = value >= 0
        starts, ends, value = starts[keep], ends[keep], value[keep]
        order = np.argsort(value, kind="stable")
        _, first = np.unique(value[order], return_index=True)
        offsets = np.concatenate([first, [len(value)]]).astype(np.int64)
        return cls._of((height, width), starts[order], ends[order], offsets, None, None)

    @classmethod
    def from_coco(
        cls, records: Sequence[Mapping[str, Any]], size: tuple[int, int] | None = None
    ) -> MaskSet:
        """Regions of records with SSA's field names; area and box are taken from the runs.

        Args:
            records: Each with ``segmentation`` (COCO run lengths, compressed or not) and, where
                known, ``predicted_iou`` and ``stability_score``.
            size: (H, W), needed when there is no record.

        Raises:
            ValueError: A record is damaged, or sizes differ.
        """
        decoded = [rle.decode(record.get("segmentation", {})) for record in records]
        sizes = {s for _, s in decoded} | ({size} if size is not None else set())
        if len(sizes) != 1:
            raise ValueError(f"masks of one image have sizes {sorted(sizes)}")
        return cls.from_runs(
            [runs for runs, _ in decoded],
            sizes.pop(),
            [float(record.get("predicted_iou", 1.0)) for record in records],
            [float(record.get("stability_score", 1.0)) for record in records],
        )

    def to_coco(self) -> list[dict[str, Any]]:
        """Records with SSA's field names: box as x, y, x2 − x1, y2 − y1 with inclusive corners."""
        records = []
        for m in range(len(self)):
            x1, y1, x2, y2 = (int(v) for v in self.box[m])
            records.append(
                {
                    "segmentation": rle.encode(*self.runs(m), self.size),
                    "area": int(self.area[m]),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "predicted_iou": float(self.score[m]),
                    "stability_score": float(self.stability[m]),
                }
            )
        return records

    def runs(self, m: int) -> rle.Runs:
        """Starts and ends of region ``m``, int64."""
        part = slice(self.offsets[m], self.offsets[m + 1])
        return self.starts[part].astype(np.int64), self.ends[part].astype(np.int64)

    def decode(self, m: int, box_only: bool = True) -> np.ndarray:
        """Region ``m`` as bool: (y2 − y1 + 1, x2 − x1 + 1) within its box, or (H, W)."""
        starts, ends = self.runs(m)
        if not box_only:
            return rle.runs_to_mask(starts, ends, self.size)
        height = self.size[0]
        x1, y1, x2, y2 = (int(v) for v in self.box[m])
        shift = x1 * height
        columns = rle.runs_to_mask(starts - shift, ends - shift, (height, x2 - x1 + 1))
        return columns[y1 : y2 + 1]

    def select(self, index: Sequence[int] | np.ndarray) -> MaskSet:
        """The regions ``index`` (or where a bool array is true), in that order."""
        chosen = np.asarray(index)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        return MaskSet.from_runs(
            [self.runs(m) for m in chosen.tolist()],
            self.size,
            self.score[chosen],
            self.stability[chosen],
        )

    def order(self) -> np.ndarray:
        """(M,) int64, regions in painting order: largest first, equals as supplied."""
        return np.lexsort((np.arange(len(self)), -self.area.astype(np.int64)))

    def owner(self, keep: np.ndarray | None = None) -> np.ndarray:
        """Which region is seen at each pixel when they are painted over each other.

        Args:
            keep: (M,) bool, regions that are painted; the ranks of the others stay unused.

        Returns:
            (H, W) int16, int32 above 32767 regions: position in :meth:`order`, or -1.
        """
        height, width = self.size
        dtype = np.int16 if len(self) <= np.iinfo(np.int16).max else np.int32
        canvas = np.full(height * width, -1, dtype=dtype)
        for rank, m in enumerate(self.order().tolist()):
            if keep is not None and not keep[m]:
                continue
            part = slice(self.offsets[m], self.offsets[m + 1])
            for start, end in zip(
                self.starts[part].tolist(), self.ends[part].tolist(), strict=True
            ):
                canvas[start:end] = rank
        return np.ascontiguousarray(canvas.reshape(width, height).T)

    def resized(self, size: tuple[int, int]) -> MaskSet:
        """The regions at another (H, W), nearest neighbour; some may become empty."""
        if size == self.size:
            return self
        whole = (self.decode(m, box_only=False).astype(np.uint8) for m in range(len(self)))
        scaled = (cv2.resize(m, size[::-1], interpolation=cv2.INTER_NEAREST) for m in whole)
        return MaskSet.from_masks(scaled, size, self.score, self.stability)

    def save(self, path: Path) -> None:
        """Writes a compressed npz file atomically; equal sets give equal bytes."""
        with replacing(Path(path)) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **self.to_arrays())  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> MaskSet:
        """Reads what :meth:`save` wrote.

        Raises:
            UserError: The file is missing, truncated or something else.
        """
        try:
            return cls.from_arrays(read_arrays(path))
        except FileNotFoundError as error:
            raise UserError(f"no file {path}.", fix="Run the stage that writes it.") from error
        except Exception as error:  # zip and npy readers raise many kinds on a damaged file
            raise UserError(
                f"{path} holds no masks: {error}", fix="Delete it and run the stage again."
            ) from error

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The fields as arrays, for a file that holds more than the masks."""
        return {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> MaskSet:
        """The opposite of :meth:`to_arrays`; other keys are ignored.

        Raises:
            ValueError: The arrays do not belong together.
        """
        height, width = (int(side) for side in arrays["size"])
        rest = {f.name: arrays[f.name] for f in fields(cls) if f.name != "size"}
        masks = cls(size=(height, width), **rest)
        starts, ends, offsets = masks.starts, masks.ends, masks.offsets
        runs = np.stack([starts, ends])
        whole = all(array.dtype.kind in "iu" for array in (runs, offsets))
        ordered = whole and (starts < ends).all() and (np.diff(offsets, prepend=0) >= 0).all()
        inside = whole and ((runs >= 0) & (runs <= height * width)).all()
        if not (ordered and inside and offsets[0] == 0 and offsets[-1] == len(starts)) or (
            masks != cls._of(masks.size, starts, ends, offsets, masks.score, masks.stability)
        ):
            raise ValueError("its arrays do not belong together")
        return masks

    @classmethod
    def _of(
        cls,
        size: tuple[int, int],
        starts: np.ndarray,
        ends: np.ndarray,
        offsets: np.ndarray,
        score: Sequence[float] | np.ndarray | None,
        stability: Sequence[float] | np.ndarray | None,
    ) -> MaskSet:
        if size[0] * size[1] >= 2**31:
            raise ValueError(f"an image of {size[0]} × {size[1]} pixels is too large")
        count = len(offsets) - 1
        total = np.concatenate([[0], np.cumsum(ends - starts)])
        return cls(
            size=(int(size[0]), int(size[1])),
            starts=starts.astype(np.int32),
            ends=ends.astype(np.int32),
            offsets=offsets.astype(np.int64),
            area=(total[offsets[1:]] - total[offsets[:-1]]).astype(np.int32),
            box=_boxes(starts, ends, offsets, size[0]),
            score=_floats(score, count),
            stability=_floats(stability, count),
        )


def _floats(values: Sequence[float] | np.ndarray | None, count: int) -> np.ndarray:
    if values is None:
        return np.ones(count, dtype=np.float32)
    array = np.asarray(values, dtype=np.float32).reshape(-1)
    if len(array) != count:
        raise ValueError(f"{len(array)} scores for {count} masks")
    return array


def _boxes(starts: np.ndarray, ends: np.ndarray, offsets: np.ndarray, height: int) -> np.ndarray:
    boxes = np.zeros((len(offsets) - 1, 4), dtype=np.int32)
    filled = np.flatnonzero(offsets[1:] > offsets[:-1])
    if len(filled) == 0:
        return boxes
    first = offsets[:-1][filled]
    left, top = np.divmod(starts, height)
    right, bottom = np.divmod(ends - 1, height)
    # A run that goes on into the next column covers both borders of the image.
    wraps = right > left
    top, bottom = np.where(wraps, 0, top), np.where(wraps, height - 1, bottom)
    boxes[filled, 0] = np.minimum.reduceat(left, first)
    boxes[filled, 1] = np.minimum.reduceat(top, first)
    boxes[filled, 2] = np.maximum.reduceat(right, first)
    boxes[filled, 3] = np.maximum.reduceat(bottom, first)
    return boxes
