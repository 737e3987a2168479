"""Test-time augmentation: an image is predicted at several scales and mirrored.

As in mmsegmentation, ``TestTimeAug`` makes the views in the pipeline, and the mean of their class
probabilities at the size of the original image decides.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.structures import PixelData
from mmseg.models.segmentors import SegTTAModel
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_uda.engine.deployed import deployed_pipeline
from mmseg_uda.errors import UserError

RESIZES = ("ResizeFields", "Resize")
PACKS = ("PackFields", "PackSegInputs")
LABELS = ("LoadTrainIds", "LoadAnnotations")


@dataclass(frozen=True)
class Augmentations:
    """Views of an image whose predictions are averaged.

    Attributes:
        scales: Factors on the size that the config resizes to. The default are the ratios of the
            DAFormer family's ``--aug-test``.
        flip: Add the mirror image of every scale.
    """

    scales: tuple[float, ...] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    flip: bool = True

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise UserError(
                f"Test-time augmentation cannot use the scales {list(self.scales)}.",
                fix="Give positive factors, for example 0.75 1 1.25.",
            )

    def __len__(self) -> int:
        return len(self.scales) * (1 + self.flip)


def augmentations_from(args: argparse.Namespace) -> Augmentations | None:
    """Reads the options of ``cli.add_tta_options``; None without test-time augmentation."""
    if not (args.tta or args.tta_scales or args.tta_no_flip):
        return None
    default = Augmentations()
    scales = tuple(args.tta_scales) if args.tta_scales else default.scales
    return Augmentations(scales, flip=not args.tta_no_flip)


def augmented_pipeline(
    pipeline: Sequence[Mapping[str, Any]], augmentations: Augmentations
) -> list[dict[str, Any]]:
    """Returns a test pipeline that makes every view of an image.

    Labels are loaded after the views are made, so that none is mirrored: predictions are mirrored
    back before they are compared.

    Args:
        pipeline: Test pipeline with one transform of ``RESIZES`` and one of ``PACKS``.
        augmentations: The views.

    Raises:
        UserError: The pipeline has no transform to be scaled, or none that packs.
    """
    steps = [copy.deepcopy(dict(step)) for step in pipeline]
    labels = [step for step in steps if step["type"] in LABELS]
    packs = [step for step in steps if step["type"] in PACKS]
    steps = [step for step in steps if step["type"] not in (*LABELS, *PACKS)]
    resizes = [index for index, step in enumerate(steps) if step["type"] in RESIZES]
    if len(packs) != 1 or len(resizes) != 1:
        raise UserError(
            "Test-time augmentation needs a test pipeline with one resize and one pack transform, "
            f"not {[step['type'] for step in pipeline]}.",
            fix=f"Use one of {', '.join(RESIZES)} and one of {', '.join(PACKS)}.",
        )
    (at,) = resizes
    scaled = [_scaled(steps[at], factor) for factor in augmentations.scales]
    flips = [
        dict(type="FlipFields", prob=float(mirrored))
        for mirrored in ((False, True) if augmentations.flip else (False,))
    ]
    rest = [[step] for step in [*steps[at + 1 :], *labels, *packs]]
    return [*steps[:at], dict(type="TestTimeAug", transforms=[scaled, flips, *rest])]


def with_augmentations(cfg: Config, augmentations: Augmentations) -> Config:
    """Returns a test config whose model and data average over the views.

    Args:
        cfg: As ``test_config`` returns. It is not changed.
        augmentations: The views.
    """
    cfg = cfg.copy()
    dataset = cfg.test_dataloader.dataset
    if dataset.get("targets"):
        for target in dataset.targets.values():
            target.pipeline = augmented_pipeline(target.pipeline, augmentations)
    else:
        dataset.pipeline = augmented_pipeline(deployed_pipeline(cfg), augmentations)
    # mmengine hands a top-level data_preprocessor to the model; it belongs to the segmentor.
    preprocessor = cfg.pop("data_preprocessor", None)
    if preprocessor is not None:
        cfg.model.setdefault("data_preprocessor", preprocessor)
    cfg.model = ConfigDict(type="StreamingTTAModel", module=cfg.model)
    return cfg


@MODELS.register_module()
class StreamingTTAModel(SegTTAModel):
    """mmsegmentation's test-time augmentation, one view in memory at a time.

    The result is ``SegTTAModel``'s, the arg-max of the mean class probabilities. That class keeps
    the logits of all views at the original size, 160 MB for each view of a Cityscapes image.
    """

    def test_step(self, data: Mapping[str, Sequence[Any]]) -> list[Any]:
        """Predicts every view and averages.

        Args:
            data: ``inputs`` and ``data_samples``, each a list over views of lists over images.

        Returns:
            The first view's data samples, with ``pred_sem_seg`` (1, H, W) and, in place of
            ``seg_logits``, ``seg_probabilities`` (C, H, W).
        """
        if self.module.out_channels == 1:  # one foreground class behind a sigmoid
            return super().test_step(data)
        merged: list[Any] | None = None
        sums: list[Tensor] = []
        for view in _views(data):
            samples = self.module.test_step(view)
            shares = [sample.seg_logits.data.softmax(dim=0) for sample in samples]
            for sample in samples:
                del sample.seg_logits
            if merged is None:
                merged, sums = samples, shares
                continue
            for total, share in zip(sums, shares, strict=True):
                total += share
        assert merged is not None
        for sample, total in zip(merged, sums, strict=True):
            mean = total / len(data["inputs"])
            sample.set_data(
                {
                    "seg_probabilities": PixelData(data=mean),
                    "pred_sem_seg": PixelData(data=mean.argmax(dim=0, keepdim=True)),
                }
            )
        return merged


def _views(data: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for index in range(len(data["inputs"])):
        yield {key: value[index] for key, value in data.items()}


def _scaled(resize: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """A resize transform whose target is ``factor`` times larger."""
    resize = dict(resize)
    scale = resize.get("scale")
    if scale is not None:
        sides = (scale, scale) if isinstance(scale, int) else scale
        resize["scale"] = tuple(max(int(side * factor + 0.5), 1) for side in sides)
    elif resize.get("scale_factor") is not None:
        resize["scale_factor"] = resize["scale_factor"] * factor
    else:
        raise UserError(
            "Test-time augmentation needs to know the size that images are resized to.",
            fix=f"Give {resize['type']} a scale in the test pipeline.",
        )
    return resize
