"""Mask classification (Mask2Former): targets, losses and the semantic map of its predictions.

Matching and point losses are those of the transformers library (arXiv 2112.01527).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmseg_uda.errors import UserError


def mask2former_library() -> Any:
    """The module of Mask2Former in the transformers library, imported when it is needed.

    Raises:
        UserError: It cannot be imported.
    """
    try:
        import scipy.optimize  # noqa: F401  (the library's matching; it imports without it)
        from transformers.models.mask2former import modeling_mask2former
    except ImportError as error:
        raise UserError(
            f"Mask2Former needs the libraries transformers and scipy: {error}.",
            fix="Install what setup.py lists: pip install -e .[test] -c constraints.txt",
        ) from error
    return modeling_mask2former


def semantic_scores(classes: Tensor, masks: Tensor, size: Sequence[int] | None = None) -> Tensor:
    """Sums the masks of all queries, weighted by their classes: ``Σ_q softmax(c)_qk σ(m)_q``.

    Args:
        classes: Logits (B, Q, K + 1), the last column for "no object".
        masks: Logits (B, Q, h, w).
        size: Height and width to which mask logits are resized first, bilinearly without
            aligned corners; theirs when absent.

    Returns:
        Scores of 0 to about 1, (B, K, H, W), float32. Masks at full size exist for one image at
        a time; the backward pass computes them again.
    """

    def one(shares: Tensor, mask: Tensor) -> Tensor:
        if size is not None and tuple(mask.shape[-2:]) != tuple(size):
            mask = F.interpolate(
                mask[None], size=tuple(size), mode="bilinear", align_corners=False
            )[0]
        return torch.einsum("qk,qhw->khw", shares, mask.sigmoid())

    with torch.autocast(device_type=masks.device.type, enabled=False):
        weights = classes.float().softmax(dim=-1)[..., :-1]
        if torch.is_grad_enabled():
            images = [
                checkpoint(one, w, m, use_reentrant=False)
                for w, m in zip(weights, masks.float(), strict=True)
            ]
        else:
            images = [one(w, m) for w, m in zip(weights, masks.float(), strict=True)]
        return torch.stack(images)


@dataclass(frozen=True)
class MaskPredictions:
    """What the queries say after each decoder layer; the last entry is the prediction.

    Attributes:
        classes: Logits (B, Q, K + 1) each, the last column for "no object".
        masks: Logits (B, Q, h, w) each.
    """

    classes: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]

    def scores(self, size: Sequence[int] | None = None, rows: slice = slice(None)) -> Tensor:
        """:func:`semantic_scores` of the prediction for some images, (n, K, H, W)."""
        return semantic_scores(self.classes[-1][rows], self.masks[-1][rows], size)


def mask_targets(
    label: Tensor, num_classes: int, include_absent_classes: bool = True, ignore_index: int = 255
) -> tuple[list[Tensor], list[Tensor]]:
    """One binary mask per class and image.

    Args:
        label: (B, H, W) int64 class ids or ``ignore_index``, which is background of every mask.
        num_classes: K.
        include_absent_classes: Classes that an image does not show get an empty mask, as SRHA
            trains; else they have none, as Mask2Former does. Finding those waits for the device.
        ignore_index: Label without a class.

    Returns:
        Per image the masks (N, H, W) float32 and their classes (N,) int64; N = K with absent
        classes.
    """
    everything = torch.arange(num_classes, device=label.device)
    masks, classes = [], []
    for image in label:
        present = everything
        if not include_absent_classes:
            present = image[image != ignore_index].unique()
        masks.append((image == present[:, None, None]).float())
        classes.append(present)
    return masks, classes


@MODELS.register_module()
class MaskClassificationLoss(nn.Module):
    """Mask2Former's loss: match queries to masks, then cross-entropy, point-wise BCE and dice.

    Every decoder layer's output is matched and supervised on its own, with fresh random points;
    the results are summed. Masks are counted per process.

    Args:
        num_classes: K.
        class_weight: Weight of the class in costs and loss.
        mask_weight: Of the binary cross-entropy.
        dice_weight: Of the dice loss.
        no_object_weight: Class weight of "no object" in the cross-entropy.
        num_points: Points per mask, in costs and losses.
        oversample_ratio: Candidates per point of the losses.
        importance_sample_ratio: Share of the points that are the most uncertain candidates.
        include_absent_classes: See :func:`mask_targets`.

    Raises:
        UserError: The transformers library or scipy is missing.
    """

    def __init__(
        self,
        num_classes: int,
        class_weight: float = 2.0,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        no_object_weight: float = 0.1,
        num_points: int = 12544,
        oversample_ratio: float = 3.0,
        importance_sample_ratio: float = 0.75,
        include_absent_classes: bool = True,
    ) -> None:
        super().__init__()
        library = mask2former_library()
        self.num_classes = num_classes
        self.include_absent_classes = include_absent_classes
        self.weights = {
            "loss_cross_entropy": class_weight,
            "loss_mask": mask_weight,
            "loss_dice": dice_weight,
        }
        # the library takes no int for a float
        config = library.Mask2FormerConfig(
            num_labels=num_classes,
            class_weight=float(class_weight),
            mask_weight=float(mask_weight),
            dice_weight=float(dice_weight),
            no_object_weight=float(no_object_weight),
            train_num_points=num_points,
            oversample_ratio=float(oversample_ratio),
            importance_sample_ratio=float(importance_sample_ratio),
        )
        self.criterion = library.Mask2FormerLoss(config, self.weights)
        # a constant of the config; a buffer in checkpoints would be missing in published ones
        empty_weight = self.criterion.empty_weight
        del self.criterion.empty_weight
        self.criterion.register_buffer("empty_weight", empty_weight, persistent=False)

    def forward(
        self, predictions: MaskPredictions, label: Tensor, ignore_index: int = 255
    ) -> dict[str, Tensor]:
        """Computes the losses, in float32.

        Args:
            predictions: The output of every decoder layer.
            label: (B, H, W) int64.
            ignore_index: Label without a class.

        Returns:
            Weighted ``loss_cls``, ``loss_mask`` and ``loss_dice``, summed over the layers.
        """
        masks, classes = mask_targets(
            label, self.num_classes, self.include_absent_classes, ignore_index
        )
        *inner, last = zip(predictions.masks, predictions.classes, strict=True)
        with torch.autocast(device_type=label.device.type, enabled=False):
            auxiliary = [
                {"masks_queries_logits": m.float(), "class_queries_logits": c.float()}
                for m, c in inner
            ]
            parts = self.criterion(last[0].float(), last[1].float(), masks, classes, auxiliary)
        names = {
            "loss_cross_entropy": "loss_cls",
            "loss_mask": "loss_mask",
            "loss_dice": "loss_dice",
        }
        return {
            ours: self.weights[theirs]
            * torch.stack([v for k, v in parts.items() if k.startswith(theirs)]).sum()
            for theirs, ours in names.items()
        }
