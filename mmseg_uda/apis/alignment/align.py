"""Aligns single images from Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from mmseg_uda.apis.alignment.given_source import Source, predictor_of
from mmseg_uda.apis.alignment.settings import AlignmentSettings
from mmseg_uda.apis.prediction import Image, load_image
from mmseg_uda.methods.dynalign import View, align_image
from mmseg_uda.taxonomy import TaxonomyMap


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
        """Aligns one image; see :func:`align`.

        Args:
            image: File or array.
            source: Labels, logits or segmentor.
            channel_order: Of an array: ``bgr`` or ``rgb``.
            name: By which precomputed regions are found; None takes a file's stem.
        """
        if name is None and not isinstance(image, np.ndarray):
            name = Path(image).stem
        view = View.create(load_image(image, channel_order), self.engine.options, name)
        found = align_image(view, self.proposer, predictor_of(source), self.engine)
        labels, confidence = found.result.at(view.size)
        decision = found.result.decision
        sample = SegDataSample(
            pred_sem_seg=PixelData(data=torch.from_numpy(labels.astype(np.int64))[None]),
            confidence=PixelData(data=torch.from_numpy(confidence.astype(np.float32) / 255)[None]),
            regions=InstanceData(
                bboxes=torch.from_numpy(found.masks.box),
                labels=decision.ids,
                scores=decision.probability,
                accepted=decision.accepted,
                source_labels=torch.from_numpy(found.scored.majority),
            ),
        )
        taxonomy = self.engine.taxonomy
        sample.set_metainfo(
            dict(
                ori_shape=view.size,
                working_shape=view.shape,
                classes=taxonomy.target_classes,
                palette=[list(color) for color in taxonomy.palette],
            )
        )
        return sample


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
    """Brings a segmenter's prediction of one image into another taxonomy (DynAlign).

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
