"""Automatic mask generation with a promptable network (DynAlign)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.foundation.masks import geometry, rle
from mmseg_uda.foundation.masks.base import MaskProposer
from mmseg_uda.foundation.masks.cleaning import clean
from mmseg_uda.foundation.masks.mask_set import MaskSet

CHANNEL_ORDERS = ("rgb", "bgr")
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)
# Upper bound on the floats of one batch of upsampled logits (256 MiB).
_MAX_FLOATS = 2**26


class Backend(Protocol):
    """A promptable network: one embedding per crop, many points per embedding."""

    def load(self) -> None:
        """Loads the weights now instead of at first use."""

    @property
    def cache_key(self) -> str:
        """Names weights and precision, without loading the weights."""

    @property
    def input_side(self) -> int:
        """Side of the square network input in pixels."""

    @property
    def keeps_proportions(self) -> bool:
        """Whether crops are padded to a square; else they are stretched."""

    def embed(self, pixels: Tensor) -> Any:
        """Embedding of a network input (1, 3, S, S)."""

    def predict(self, embedding: Any, points: Tensor) -> tuple[Tensor, Tensor]:
        """Three masks per point.

        Args:
            embedding: What :meth:`embed` returned.
            points: (n, 2) float32 x and y in pixels of the network input.

        Returns:
            Logits (n, 3, h, h) float32 and estimated IoU (n, 3) float32.
        """


@dataclass(frozen=True)
class GenerationOptions:
    """When a mask is proposed. Defaults are those of SSA and DynAlign.

    Attributes:
        points_per_side: Points per side of the whole image (segment-anything: 32).
        points_per_batch: Points per pass of the decoder.
        pred_iou_thresh: Estimated IoU that a mask must exceed (0.88).
        stability_score_thresh: Stability that it must reach (0.95).
        stability_score_offset: Distance of the two thresholds from 0 that stability compares.
        box_nms_thresh: IoU of boxes above which the worse mask of a crop is dropped.
        crop_nms_thresh: The same between crops.
        crop_n_layers: Layers of crops beside the whole image (0).
        crop_overlap_ratio: See :func:`mmseg_uda.foundation.masks.geometry.crop_layers`.
        crop_n_points_downscale_factor: Divides the points per side with each layer (1).
        min_mask_region_area: Smaller holes and islands are cleaned away (0: none).
        exact_cleaning: See :func:`mmseg_uda.foundation.masks.cleaning.clean`.
    """

    points_per_side: int = 64
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.86
    stability_score_thresh: float = 0.92
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_nms_thresh: float = 0.7
    crop_n_layers: int = 1
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 2
    min_mask_region_area: int = 100
    exact_cleaning: bool = False

    def __post_init__(self) -> None:
        least = {
            "points_per_side": 1,
            "points_per_batch": 1,
            "stability_score_offset": 0,
            "crop_n_layers": 0,
            "crop_n_points_downscale_factor": 1,
            "min_mask_region_area": 0,
        }
        for name, low in least.items():
            if getattr(self, name) < low:
                raise UserError(f"{name}={getattr(self, name)}.", fix=f"{low} or more.")
        deepest = self.crop_n_points_downscale_factor**self.crop_n_layers
        if self.points_per_side < deepest:
            raise UserError(
                f"points_per_side={self.points_per_side} leaves no point in the smallest crops.",
                fix=f"{deepest} or more, or fewer crop_n_layers.",
            )
        for name in ("box_nms_thresh", "crop_nms_thresh", "crop_overlap_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name}={getattr(self, name)}.", fix="Give a share from 0 to 1.")

    @classmethod
    def of(cls, owner: str, given: dict[str, Any]) -> GenerationOptions:
        """Builds them from keyword arguments.

        Raises:
            UserError: An option is unknown or out of range.
        """
        known = [f.name for f in fields(cls)]
        for name in given:
            if name not in known:
                raise UserError(
                    f"{owner} has no option {name!r}.", fix=f"Give one of {', '.join(known)}."
                )
        return cls(**given)


@dataclass(frozen=True)
class _Found:
    """Masks of one crop, in image coordinates."""

    runs: list[rle.Runs]
    boxes: Tensor
    score: Tensor
    stability: Tensor
    crop_area: Tensor

    def take(self, index: Tensor) -> _Found:
        chosen = index.tolist()
        return _Found(
            [self.runs[i] for i in chosen],
            self.boxes[index],
            self.score[index],
            self.stability[index],
            self.crop_area[index],
        )

    @staticmethod
    def join(parts: list[_Found]) -> _Found:
        return _Found(
            [runs for part in parts for runs in part.runs],
            torch.cat([part.boxes for part in parts]),
            torch.cat([part.score for part in parts]),
            torch.cat([part.stability for part in parts]),
            torch.cat([part.crop_area for part in parts]),
        )


class AutomaticMaskProposer(MaskProposer):
    """Prompts a network with a grid of points and keeps the masks that it is sure of.

    Args:
        backend: The network.
        options: When a mask is proposed.
        channel_order: What the network is given: ``rgb``, as it was trained, or ``bgr``, as the
            published DynAlign does.
    """

    def __init__(
        self, backend: Backend, options: GenerationOptions, channel_order: str = "rgb"
    ) -> None:
        require_choice("channel_order", channel_order, CHANNEL_ORDERS)
        self.backend = backend
        self.options = options
        self.channel_order = channel_order

    def load(self) -> None:
        """Loads the weights now instead of at first use."""
        self.backend.load()

    @property
    def cache_key(self) -> str:
        """See :class:`MaskProposer`."""
        settings = asdict(self.options)
        del settings["points_per_batch"]  # changes the speed alone
        return f"{self.backend.cache_key} {self.channel_order} {sorted(settings.items())}"

    @torch.no_grad()
    def propose(
        self, image: np.ndarray, labels: np.ndarray | None = None, name: str | None = None
    ) -> MaskSet:
        """The masks, those of small crops first where there are crops."""
        options, size = self.options, (image.shape[0], image.shape[1])
        picture = image if self.channel_order == "rgb" else image[..., ::-1]
        crops = geometry.crop_layers(size, options.crop_n_layers, options.crop_overlap_ratio)
        found = _Found.join([self._crop(picture, crop, layer) for crop, layer in crops])
        if len(crops) > 1:  # of the same object, prefer the mask of the smaller crop
            scores = 1 / found.crop_area
            found = found.take(geometry.suppress(found.boxes, scores, options.crop_nms_thresh))
        masks = MaskSet.from_runs(found.runs, size, found.score.numpy(), found.stability.numpy())
        return self._cleaned(masks) if options.min_mask_region_area else masks

    def _crop(self, picture: np.ndarray, crop: tuple[int, int, int, int], layer: int) -> _Found:
        options, backend = self.options, self.backend
        x0, y0, x1, y1 = crop
        size = (y1 - y0, x1 - x0)
        side = backend.input_side
        inside = geometry.input_size(size, side) if backend.keeps_proportions else (side, side)
        pixels = prepare(np.ascontiguousarray(picture[y0:y1, x0:x1]), inside, side)
        embedding = backend.embed(pixels.to(self.device))
        count = int(options.points_per_side / options.crop_n_points_downscale_factor**layer)
        # Points of the crop, brought into the network input's pixels.
        points = geometry.point_grid(count) * [inside[1], inside[0]]
        batches = torch.from_numpy(points.astype(np.float32)).split(options.points_per_batch)
        parts = [_nothing()]
        for batch in batches:
            logits, score = backend.predict(embedding, batch.to(self.device))
            parts += self._select(logits.flatten(0, 1), score.flatten(), inside, crop, picture)
        found = _Found.join(parts)
        return found.take(geometry.suppress(found.boxes, found.score, options.box_nms_thresh))

    def _select(
        self,
        logits: Tensor,
        score: Tensor,
        inside: tuple[int, int],
        crop: tuple[int, int, int, int],
        picture: np.ndarray,
    ) -> Iterator[_Found]:
        """Filters masks; only those of sufficient score are brought to full size."""
        options, side = self.options, self.backend.input_side
        x0, y0, x1, y1 = crop
        size, whole = (y1 - y0, x1 - x0), (picture.shape[0], picture.shape[1])
        sure = score > options.pred_iou_thresh
        chunk = max(1, _MAX_FLOATS // max(side * side, size[0] * size[1]))
        for part, part_score in zip(
            logits[sure].split(chunk), score[sure].split(chunk), strict=True
        ):
            full = self._upsample(part, inside, size)
            stable = geometry.stability(full, options.stability_score_offset)
            masks = full > 0
            boxes = geometry.mask_boxes(masks)
            shifted = boxes + torch.tensor([x0, y0, x0, y0], device=boxes.device)
            keep = stable >= options.stability_score_thresh
            keep &= ~geometry.cut_off(shifted, crop, whole)
            chosen = keep.nonzero()[:, 0]
            runs = []
            for m, (a, b, c, d) in zip(chosen.tolist(), boxes[chosen].tolist(), strict=True):
                window = masks[m, b : d + 1, a : c + 1].cpu().numpy()
                runs.append(rle.mask_to_runs(window, (x0 + a, y0 + b), whole[0]))
            area = torch.full((len(runs),), float(size[0] * size[1]))
            yield _Found(
                runs,
                shifted[chosen].cpu(),
                part_score[chosen].float().cpu(),
                stable[chosen].cpu(),
                area,
            )

    def _upsample(self, logits: Tensor, inside: tuple[int, int], size: tuple[int, int]) -> Tensor:
        if self.backend.keeps_proportions:
            return geometry.upsample(logits, self.backend.input_side, inside, size)
        return geometry.upsample(logits, logits.shape[-1], logits.shape[-2:], size)

    def _cleaned(self, masks: MaskSet) -> MaskSet:
        options = self.options
        area, exact = options.min_mask_region_area, options.exact_cleaning
        cleaned = [clean(masks, m, area, exact) for m in range(len(masks))]
        result = MaskSet.from_runs(
            [runs for runs, _ in cleaned], masks.size, masks.score, masks.stability
        )
        # Where cleaning has made two masks alike, the one that needed none is kept.
        scores = torch.tensor([float(not changed) for _, changed in cleaned])
        threshold = max(options.box_nms_thresh, options.crop_nms_thresh)
        return result.select(
            geometry.suppress(torch.from_numpy(result.box), scores, threshold).numpy()
        )


def prepare(crop: np.ndarray, inside: tuple[int, int], side: int) -> Tensor:
    """Network input (1, 3, side, side) float32 of a crop (h, w, 3) uint8.

    Pillow's bilinear filter on 8 bits, ImageNet's mean and deviation, zeros at the right and the
    bottom, as SAM was trained.
    """
    resized = Image.fromarray(crop).resize(inside[::-1], Image.Resampling.BILINEAR)
    pixels = (np.asarray(resized, dtype=np.float32) - MEAN) / STD
    padded = np.zeros((1, 3, side, side), dtype=np.float32)
    padded[0, :, : inside[0], : inside[1]] = pixels.transpose(2, 0, 1)
    return torch.from_numpy(padded)


def _nothing() -> _Found:
    none = torch.zeros(0)
    return _Found([], torch.zeros(0, 4, dtype=torch.long), none, none, none)
