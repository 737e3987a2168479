"""Building the frozen detector and crop classifier, and asking them in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmseg_uda.engine.transfer import to_device
from mmseg_uda.foundation import CROP_CLASSIFIERS, DETECTORS, CropClassifier, Detector
from mmseg_uda.foundation.registry import build_adapter
from mmseg_uda.methods.csi.boxes import best_prompt, round_boxes, to_pixels
from mmseg_uda.methods.csi.mapping import Entry
from mmseg_uda.methods.csi.scoring import crop_decision
from mmseg_uda.taxonomy import Taxonomy


def build_detector(config: Mapping[str, Any], classifier: Any, **defaults: Any) -> Detector:
    """A detector; one that needs a crop classifier and names none gets ``classifier``.

    Args:
        config: ``type`` and options of a registered detector.
        classifier: The method's own crop classifier, or None.
        defaults: Options that apply where the detector has them and ``config`` does not set them.
    """
    role = "uda.relabel.detector"
    return build_adapter(DETECTORS, role, config, classifier=classifier, **defaults)


def build_classifier(config: Mapping[str, Any], **defaults: Any) -> CropClassifier:
    """A crop classifier; ``defaults`` as in :func:`build_detector`."""
    return build_adapter(CROP_CLASSIFIERS, "uda.relabel.classifier", config, **defaults)


def find_boxes(
    detector: Detector,
    images: Tensor,
    taxonomy: Taxonomy,
    entries: Sequence[Entry],
    active: Sequence[int],
) -> Tensor:
    """The detector's boxes, each with its best phrase.

    Args:
        detector: The frozen detector.
        images: (B, 3, H, W) float, RGB in [0, 1].
        taxonomy: Gives the phrases; those of the other classes are passed as background.
        entries: The relabelling map.
        active: Entries to look for, in map order.

    Returns:
        (B, N, 10) float32: score, entry, x0, y0, x1, y1 in pixels, and the same box rounded.
        Counts and coordinates are below 2**24 and therefore exact.
    """
    queries = [(p, e) for e in active for p in taxonomy.prompts[entries[e].target]]
    targets = {entries[e].target for e in active}
    others = [p for c, texts in enumerate(taxonomy.prompts) if c not in targets for p in texts]
    logits, relative = detector.detect(images, [p for p, _ in queries], others)
    score, prompt = best_prompt(logits.float())
    entry = send([e for _, e in queries], torch.int64, images.device)[prompt]
    height, width = images.shape[-2:]
    boxes = to_pixels(relative, height, width)
    rounded = round_boxes(boxes, height, width).float()
    return torch.cat([score[..., None], entry[..., None].float(), boxes, rounded], dim=-1)


class CropCheck:
    """Compares crops with all phrases of a taxonomy, within the target's super-category.

    Args:
        classifier: The frozen crop classifier.
        taxonomy: Classes, groups and phrases.
        entries: The relabelling map.
        rule: See :func:`mmseg_uda.methods.csi.scoring.crop_decision`.
    """

    def __init__(
        self, classifier: CropClassifier, taxonomy: Taxonomy, entries: Sequence[Entry], rule: str
    ) -> None:
        self.classifier = classifier
        self.rule = rule
        self.prompts = [p for texts in taxonomy.prompts for p in texts]
        owners = [c for c, texts in enumerate(taxonomy.prompts) for _ in texts]
        groups = [taxonomy.groups[c] for c in owners]
        rivals = [[g == taxonomy.groups[entry.target] for g in groups] for entry in entries]
        self.prompt_class = torch.tensor(owners)
        self.in_group = torch.tensor(rivals)

    def __call__(self, images: Tensor, boxes: Tensor, index: Tensor, entry: Tensor) -> Any:
        """Predicted class and confidence, both (n,), of boxes (n, 4) of images ``index`` (n,)."""
        if self.prompt_class.device != images.device:
            self.prompt_class = self.prompt_class.to(images.device)
            self.in_group = self.in_group.to(images.device)
        logits = self.classifier.classify(images, self.prompts, boxes, index)
        return crop_decision(logits, self.in_group[entry], self.prompt_class, self.rule)


def send(values: Sequence, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers of the host as a tensor (n,) on ``device``, without waiting for it."""
    return to_device(torch.tensor(values, dtype=dtype), device)
