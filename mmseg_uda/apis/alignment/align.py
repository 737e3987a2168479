"""Aligns single images from Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_uda.apis.alignment.segmentor_source import SegmentorSource
from mmseg_uda.apis.alignment.settings import AlignmentSettings
from mmseg_uda.apis.prediction import Image, load_image
from mmseg_uda.errors import UserError
from mmseg_uda.methods.dynalign import (
    SourcePrediction,
    class_histogram,
    majority,
    mean_probabilities,
    nearest,
    working_shape,
)
from mmseg_uda.methods.dynalign.stages import resize_image
from mmseg_uda.taxonomy import TaxonomyMap

Source: TypeAlias = "np.ndarray | Tensor | nn.Module"


class Aligner:
    """Aligns images one by one; networks and text features stay in memory.

    Args:
        settings: What the alignment is made of.
    """

    def __init__(self, settings: AlignmentSettings | None = None) -> None:
        self.settings = settings or AlignmentSettings()
        self.proposer = self.settings.build_proposer()
        self.engine = self.settings.build_engine()

    def __call__(
        self, image: Image, source: Source, channel_order: str = "bgr", name: str | None = None
    ) -> SegDataSample:
        """Align one image; see :func:`align`.

        Args:
            image: File or array.
            source: Labels, logits or segmentor.
            channel_order: Of an array: ``bgr`` or ``rgb``.
            name: By which precomputed regions are found; None takes a file's stem.
        """
        options = self.engine.options
        if name is None and not isinstance(image, np.ndarray):
            name = Path(image).stem
        array = load_image(image, channel_order)
        size = (int(array.shape[0]), int(array.shape[1]))
        shape = working_shape(options.working_size, size)
        predicted = self._predict(array, source, shape)
        small = resize_image(array, shape)
        rgb = np.ascontiguousarray(small[..., ::-1])
        masks = self.proposer.propose(rgb, predicted.labels, name)
        if options.vote == "soft":
            assert predicted.probabilities is not None
            votes = mean_probabilities(masks, predicted.probabilities)
        else:
            classes = len(self.engine.taxonomy.source_classes)
            votes = class_histogram(masks, predicted.labels, classes)
        voted = majority(votes)
        features = self.engine.encode(small, masks, voted)
        result = self.engine.relabel(masks, predicted.labels, voted, features)
        labels = nearest(result.labels, size).astype(np.int64)
        confidence = nearest(result.confidence, size).astype(np.float32) / 255
        sample = SegDataSample(
            pred_sem_seg=PixelData(data=torch.from_numpy(labels)[None]),
            confidence=PixelData(data=torch.from_numpy(confidence)[None]),
            regions=InstanceData(
                bboxes=torch.from_numpy(masks.box),
                labels=result.decision.ids,
                scores=result.decision.probability,
                accepted=result.decision.accepted,
                source_labels=torch.from_numpy(voted),
            ),
        )
        taxonomy = self.engine.taxonomy
        sample.set_metainfo(
            dict(
                ori_shape=size,
                working_shape=shape,
                classes=taxonomy.target_classes,
                palette=[list(color) for color in taxonomy.palette],
            )
        )
        return sample

    def _predict(
        self, image: np.ndarray, source: Source, shape: tuple[int, int]
    ) -> SourcePrediction:
        options = self.engine.options
        soft = options.vote == "soft"
        if isinstance(source, nn.Module):
            segmentor = SegmentorSource(lambda: source, key="given")
            return segmentor.predict(image, "", shape, options.source_resize, soft)
        values = torch.as_tensor(source)
        if values.ndim == 3:
            return _from_logits(values, image.shape[:2], shape, options.source_resize, soft)
        if values.ndim != 2 or values.is_floating_point():
            raise UserError(
                f"A source prediction of shape {tuple(values.shape)}, {values.dtype}, is neither "
                "labels (H, W) nor logits (K, H, W).",
                "Give one of them, or a segmentor.",
            )
        if soft:
            raise UserError("Soft votes need logits or a segmentor.", "Or use vote='hard'.")
        labels = values.cpu().numpy()
        return SourcePrediction(nearest(labels.astype(np.uint16), shape))


def align(
    image: Image,
    source: Source,
    taxonomy: str | Path | TaxonomyMap = "mapillary_v5",
    *,
    proposer: Mapping[str, Any] | None = None,
    scorer: Mapping[str, Any] | None = None,
    preset: str = "recommended",
    device: str | None = None,
    channel_order: str = "bgr",
    **options: Any,
) -> SegDataSample:
    """Bring a segmenter's prediction of one image into another taxonomy (DynAlign).

    Networks are built anew in every call; :class:`Aligner` keeps them.

    Args:
        image: A file, or an array: uint8, (H, W, 3), (H, W, 4) or (H, W).
        source: What is known in the source taxonomy: labels (H, W) integers, logits (K, H, W)
            float of any size, or a segmentor as ``init_segmentor`` returns.
        taxonomy: Name or file of a taxonomy map.
        proposer: ``type`` and options of a proposer of regions; None takes SAM.
        scorer: ``type`` and options of a crop classifier; None takes open_clip's ConvNeXt-L-D.
        preset: ``recommended`` or ``released``.
        device: None takes the GPU if there is one.
        channel_order: Of an array.
        **options: Of :class:`~mmseg_uda.methods.dynalign.Options`.

    Returns:
        ``pred_sem_seg`` (1, H, W) int64 target ids, ``confidence`` (1, H, W) float32 in [0, 1],
        and ``regions``: ``bboxes`` (M, 4) at working size, inclusive, ``labels`` and
        ``source_labels`` (M,) int64 (-1: none), ``scores`` (M,) float32, ``accepted`` (M,) bool.
        Its metainfo holds the target's ``classes`` and ``palette``.

    Raises:
        UserError: Something is unknown, missing, or does not fit together.
    """
    given: dict[str, Any] = dict(taxonomy=taxonomy, preset=preset, options=options, device=device)
    given.update({k: v for k, v in (("proposer", proposer), ("scorer", scorer)) if v is not None})
    return Aligner(AlignmentSettings(**given))(image, source, channel_order)


def _from_logits(
    logits: Tensor, size: tuple[int, ...], shape: tuple[int, int], resize: str, soft: bool
) -> SourcePrediction:
    wanted = tuple(shape) if resize == "logits" else tuple(size)
    scores = logits.detach().float().cpu()
    if tuple(scores.shape[1:]) != wanted:
        scores = nn.functional.interpolate(
            scores[None], wanted, mode="bilinear", align_corners=False
        )[0]
    labels = scores.argmax(0).numpy().astype(np.uint16)
    probabilities = None
    if soft:
        probabilities = np.stack([nearest(plane, shape) for plane in scores.softmax(0).numpy()])
    return SourcePrediction(nearest(labels, shape), probabilities)
