"""mmseg's encoder-decoder with windows that run as batches."""

from __future__ import annotations

from typing import Any

import torch
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_uda.errors import UserError
from mmseg_uda.models.adapters.query_link import link_queries
from mmseg_uda.models.segmentors.windows import (
    DEFAULT_BATCH_PIXELS,
    merge_windows,
    run_in_chunks,
    sliding_boxes,
    uses_batch_statistics,
)
from mmseg_uda.models.views import full_logits, segmentation_loss, training_forward


@MODELS.register_module()
class SlideEncoderDecoder(EncoderDecoder):
    """Encoder-decoder whose sliding-window inference stacks windows on the batch axis.

    ``test_cfg`` takes mmseg's ``mode='whole'`` or ``mode='slide'`` with ``crop_size`` and
    ``stride``, and:

    * ``batched_slide`` (True): windows run together, in chunks that fit ``batch_pixels``;
      False runs them one by one. The result is the same.
    * ``average``: ``logits`` (default) or ``probabilities`` of overlapping windows (VFM-UDA; the
      logarithm of their mean is returned).
    * ``batch_pixels``: image pixels that may pass the encoder at once (18 · 512²).
    """

    def _init_decode_head(self, decode_head: Any) -> None:
        if isinstance(decode_head, (list, tuple)):
            raise UserError(
                f"model.decode_head lists {len(decode_head)} heads, and {type(self).__name__} has "
                "one.",
                fix="Set model.type='CascadeEncoderDecoder' and model.num_stages.",
            )
        super()._init_decode_head(decode_head)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        link_queries(self)
        average = (self.test_cfg or {}).get("average", "logits")
        if average not in ("logits", "probabilities"):
            raise UserError(
                f"model.test_cfg.average={average!r} is unknown.",
                fix="Use 'logits' or 'probabilities'.",
            )

    @property
    def batch_pixels(self) -> int:
        """Image pixels that may pass the encoder at once outside training."""
        return (self.test_cfg or {}).get("batch_pixels", DEFAULT_BATCH_PIXELS)

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Computes the losses of a supervised step, for mmseg's stock training.

        Args:
            inputs: Normalised images (B, 3, H, W).
            data_samples: With ``gt_sem_seg``.
        """
        label = torch.stack([sample.gt_sem_seg.data[0] for sample in data_samples]).long()
        return segmentation_loss(self, training_forward(self, inputs), label)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict[str, Any]]) -> Tensor:
        """Predicts logits (B, C, H, W) of the whole input (B, 3, H, W), without windows."""
        return full_logits(self, inputs)

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict[str, Any]]) -> Tensor:
        """Averages the logits, or the probabilities, of overlapping windows.

        Args:
            inputs: Normalised images (B, 3, H, W); windows longer than a side shrink to it.
            batch_img_metas: Unused; of mmseg's interface.

        Returns:
            Logits (B, C, H, W).
        """
        boxes = sliding_boxes(inputs.shape[-2:], self.test_cfg.crop_size, self.test_cfg.stride)
        windows = torch.cat([box.crop(inputs) for box in boxes])
        budget: int | None = self.batch_pixels
        if not self.test_cfg.get("batched_slide", True):
            budget = 0
        elif uses_batch_statistics(self):
            budget = None
        logits = run_in_chunks(
            lambda chunk: self.encode_decode(chunk, batch_img_metas), windows, budget
        )
        windows = torch.cat(logits)
        if self.test_cfg.get("average", "logits") == "logits":
            return merge_windows(windows, boxes, inputs.shape[-2:])
        mean = merge_windows(windows.float().softmax(dim=1), boxes, inputs.shape[-2:])
        return mean.clamp(min=torch.finfo(mean.dtype).tiny).log()
