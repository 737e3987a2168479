"""HRDA: a context crop at low and a detail crop at high resolution (arXiv:2204.13132)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_uda.errors import UserError, require_choice
from mmseg_uda.models.backbones.staged import StagedBackbone
from mmseg_uda.models.convolutions import FewAtOnce
from mmseg_uda.models.heads.hrda import ScaleLogits
from mmseg_uda.models.layout import encode
from mmseg_uda.models.segmentors.slide import SlideEncoderDecoder
from mmseg_uda.models.segmentors.windows import (
    merge_windows,
    run_in_chunks,
    sliding_boxes,
    uses_batch_statistics,
)
from mmseg_uda.models.views import (
    Box,
    ChooseOffset,
    Decode,
    DetailView,
    FeatureView,
    LogitView,
    SegmentorOutput,
    upsample,
    view_image,
)

HRDA_OUTPUTS = {"FUSED": None, "LR": 0.0, "HR": 1.0, "ATT": None}


@MODELS.register_module()
class HRDAEncoderDecoder(SlideEncoderDecoder):
    """Segmentor with two scales, one encoder and an :class:`HRDAHead`.

    Training draws one detail crop for the whole batch; elsewhere detail crops slide over the
    image. ``test_cfg.hrda_out``, or the attribute ``output_mode``, shows one part: ``'LR'`` or
    ``'HR'`` alone, or ``'ATT'``, which adds the attention of the predicted classes to each data
    sample as ``scale_attention``.

    Args:
        scales: The two resize factors; the larger must be 1.
        hr_crop_size: Height and width of the detail crop in pixels; ``None`` uses the image.
        feature_scale: Scale whose features feed feature losses, or ``'all'``.
        crop_coord_divisible: Offsets of the crop are multiples of this. ``None`` (default)
            derives what aligns both grids: 8 for a DAFormer head, 16 for DeepLabV2. The
            published DeepLabV2 runs used 8, which shifts odd offsets by half a coarse cell.
        legacy_offset_range: Never draw the last position, as published runs did.
        hr_slide_inference: Slide detail crops outside training, else encode the whole image.
        hr_slide_overlapping: Crops overlap by half.
        blur_hr_crop: Strip the detail from the detail scale (×0.5, then ×2), an ablation.
        backbone: Of ``EncoderDecoder``, as all other arguments.
        decode_head: An ``HRDAHead``.
        **kwargs: Options of :class:`SlideEncoderDecoder`.

    Raises:
        UserError: Scales, crop size or feature scale do not fit together.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        decode_head: dict[str, Any],
        scales: Sequence[float] = (0.5, 1),
        hr_crop_size: Sequence[int] | None = (512, 512),
        feature_scale: float | str = 0.5,
        crop_coord_divisible: int | None = None,
        legacy_offset_range: bool = False,
        hr_slide_inference: bool = True,
        hr_slide_overlapping: bool = True,
        blur_hr_crop: bool = False,
        **kwargs: Any,
    ) -> None:
        self.scales = _checked_scales(scales)
        super().__init__(backbone, {**decode_head, "scales": self.scales}, **kwargs)
        self.hr_crop_size = None if hr_crop_size is None else tuple(hr_crop_size)
        self.feature_scale = feature_scale
        self.legacy_offset_range = legacy_offset_range
        self.hr_slide_inference = hr_slide_inference
        self.hr_slide_overlapping = hr_slide_overlapping
        self.blur_hr_crop = blur_hr_crop
        self.output_stride: int = self.decode_head.output_stride
        self.output_mode = (self.test_cfg or {}).get("hrda_out", "FUSED")
        self._validate()
        self.grid = self._aligned_offset()
        self.crop_coord_divisible = crop_coord_divisible or self.grid

    @property
    def output_mode(self) -> str:
        """What prediction shows: ``'FUSED'``, ``'LR'``, ``'HR'`` or ``'ATT'``."""
        return self._output_mode

    @output_mode.setter
    def output_mode(self, mode: str) -> None:
        require_choice("model.test_cfg.hrda_out", mode, HRDA_OUTPUTS)
        self._output_mode = mode

    def _validate(self) -> None:
        if self.feature_scale != "all" and self.feature_scale not in self.scales:
            raise UserError(
                f"model.feature_scale={self.feature_scale!r} is none of the scales.",
                fix=f"Use 'all' or one of {list(self.scales)}.",
            )
        size, stride = self.hr_crop_size, self.output_stride
        if isinstance(self.backbone, StagedBackbone):
            index = self.decode_head.head.in_index
            first = self.backbone.feature_strides[index if isinstance(index, int) else index[0]]
            if first != stride:
                raise UserError(
                    f"HRDA takes the decoder's stride to be {stride}; the first map of "
                    f"{self.backbone.arch} that it decodes has one of {first}.",
                    fix=f"Use single_scale_head='DeepLabV3PlusHead' with output_stride={first}.",
                )
        if size is not None and any(side % (2 * stride) for side in size):
            raise UserError(
                f"model.hr_crop_size={list(size)} does not fit the decoder's stride {stride}.",
                fix=f"Use multiples of {2 * stride}.",
            )

    def _aligned_offset(self) -> int:
        """Smallest offset that is whole on the fine and on the coarse grid of logits."""
        offset = self.output_stride
        while (offset * self.scales[0] / self.output_stride) % 1:
            offset += self.output_stride
        return offset

    def choose_box(
        self, size: Sequence[int], choose_offset: ChooseOffset | None = None
    ) -> Box | None:
        """Draws the detail crop of a batch.

        Args:
            size: Height and width of the image.
            choose_offset: Given the numbers of positions (vertical, horizontal), returns a pair
                of indices; Python's ``random`` when absent. Not called if there is no choice.

        Returns:
            The crop, or ``None`` when the detail scale is the whole image.
        """
        if self.hr_crop_size is None:
            return None
        height, width = (
            min(crop, side) for crop, side in zip(self.hr_crop_size, size, strict=True)
        )
        divisor = self.crop_coord_divisible
        counts = []
        for side, crop in zip(size, (height, width), strict=True):
            margin = side - crop
            legacy = max((margin + 1) // divisor, 1)
            counts.append(legacy if self.legacy_offset_range else margin // divisor + 1)
        indices = (0, 0)
        if counts != [1, 1]:
            draw = _random_offset if choose_offset is None else choose_offset
            indices = draw(counts[0], counts[1])
        y, x = (index * divisor for index in indices)
        return Box(y, y + height, x, x + width)

    def training_forward(
        self, image: Tensor, choose_offset: ChooseOffset | None = None
    ) -> SegmentorOutput:
        """Encodes and decodes both scales of a batch (B, 3, H, W); see ``views.training_forward``.

        Raises:
            UserError: The image does not divide into the logits' grid.
        """
        size = image.shape[-2:]
        if any(side % self.grid for side in size):
            raise UserError(
                f"HRDA cannot train on crops of {tuple(size)} pixels.",
                fix=f"Set crop_size to multiples of {self.grid}.",
            )
        box = self.choose_box(size, choose_offset)
        lr_features = encode(self, view_image(image, self.scales[0]))
        hr_features = encode(self, view_image(self._detail_image(image), 1.0, box))
        out = self.decode_head(lr_features, hr_features, self._logit_size(size), box)
        hr_weight, lr_weight = self.decode_head.hr_loss_weight, self.decode_head.lr_loss_weight
        logits = [LogitView("", out.fused, 1.0 - hr_weight - lr_weight, None)]
        if hr_weight > 0:
            logits.append(LogitView("hr", out.hr, hr_weight, box))
        if lr_weight > 0:
            logits.append(LogitView("lr", out.lr, lr_weight, None))
        features: tuple[FeatureView, ...] = (
            FeatureView(lr_features, self.scales[0], None),
            FeatureView(hr_features, self.scales[1], box),
        )
        if self.feature_scale != "all":
            features = (features[self.scales.index(self.feature_scale)],)
        detail = DetailView(box, out.attention.detach(), out.context)
        return SegmentorOutput(tuple(logits), features, detail)

    def full_logits(self, image: Tensor) -> Tensor:
        """Predicts logits (B, C, H, W) with sliding detail crops, modes left as they are."""
        return self._at_image_size(self._predict(image).fused, image)

    def decoded_views(
        self, image: Tensor, decode: Decode | None = None, attenuated_context: bool = False
    ) -> tuple[Tensor, ...]:
        """Fused, context, detail logits (B, K, h, w) of one pass; see ``views.decoded_views``."""
        out = self._predict(image, decode=decode)
        return out.fused, out.lr if attenuated_context else out.context, out.hr

    def attention_map(self, image: Tensor) -> Tensor:
        """Attention to the detail scale, averaged over the predicted class distribution.

        Args:
            image: Normalised images (B, 3, H, W).

        Returns:
            (B, 1, H, W) in [0, 1].
        """
        return self._at_image_size(_mean_attention(self._predict(image)), image)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict[str, Any]]) -> Tensor:
        """Predicts logits (B, C, H, W) of a window; ``ATT`` appends the attention."""
        out = self._predict(inputs, HRDA_OUTPUTS[self.output_mode])
        maps = out.fused
        if self.output_mode == "ATT":
            maps = torch.cat([maps, _mean_attention(out)], dim=1)
        return self._at_image_size(maps, inputs)

    def postprocess_result(self, seg_logits: Tensor, data_samples: Any = None) -> Any:
        """Resizes logits (B, K, H, W) to the original images, takes the arg-max; see mmseg."""
        samples = super().postprocess_result(seg_logits, data_samples)
        if self.output_mode != "ATT":
            return samples
        for sample in samples:
            data = sample.seg_logits.data
            sample.set_data(
                {
                    "seg_logits": PixelData(data=data[:-1]),
                    "pred_sem_seg": PixelData(data=data[:-1].argmax(dim=0, keepdim=True)),
                    "scale_attention": PixelData(data=data[-1:]),
                }
            )
        return samples

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Tensor:
        return self._predict(inputs).fused

    def _padding(self, size: Sequence[int]) -> tuple[int, int]:
        """Rows and columns that are missing until the image divides into the logits' grid."""
        return -size[0] % self.grid, -size[1] % self.grid

    def _at_image_size(self, maps: Tensor, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        rows, columns = self._padding((height, width))
        maps = upsample(maps, (height + rows, width + columns), self.align_corners)
        return maps[..., :height, :width]

    def _predict(
        self, image: Tensor, fixed: float | None = None, decode: Decode | None = None
    ) -> ScaleLogits:
        """Decodes both scales of whole images, padded with the mean colour where needed."""
        rows, columns = self._padding(image.shape[-2:])
        if rows or columns:
            image = F.pad(image, (0, columns, 0, rows))
        head = self.decode_head
        lr_features = encode(self, view_image(image, self.scales[0]))
        detail = self._detail_image(image)
        slides = self.hr_slide_inference and self.hr_crop_size is not None
        hr_features = None if slides else encode(self, detail)
        decode = head.head if decode is None else decode
        lr = decode(lr_features)
        hr = self._sliding_logits(detail, decode) if hr_features is None else decode(hr_features)
        attention = head.attention(lr_features, lr, fixed)
        if attention.shape[1] > 1:
            attention = attention.repeat(1, lr.shape[1] // attention.shape[1], 1, 1)
        return head.fuse(lr, hr, attention, self._logit_size(image.shape[-2:]))

    def _sliding_logits(self, image: Tensor, decode: Decode) -> Tensor:
        """Averages the logits of detail crops over the image, (B, C, H/os, W/os)."""
        assert self.hr_crop_size is not None
        divisor = 2 if self.hr_slide_overlapping else 1
        stride = [side // divisor for side in self.hr_crop_size]
        boxes = sliding_boxes(image.shape[-2:], self.hr_crop_size, stride)
        crops = torch.cat([box.crop(image) for box in boxes])
        budget = None if uses_batch_statistics(self.backbone) else self.batch_pixels
        with FewAtOnce():
            if uses_batch_statistics(self.decode_head.head):
                # the teacher's decoder must see the statistics of all crops at once
                chunks = run_in_chunks(partial(encode, self), crops, budget)
                logits = decode([torch.cat(level) for level in zip(*chunks, strict=True)])
            else:
                logits = torch.cat(
                    run_in_chunks(lambda chunk: decode(encode(self, chunk)), crops, budget)
                )
        return merge_windows(logits, boxes, self._logit_size(image.shape[-2:]), self.output_stride)

    def _detail_image(self, image: Tensor) -> Tensor:
        if not self.blur_hr_crop:
            return image
        small = F.interpolate(image, scale_factor=0.5, mode="bilinear", align_corners=False)
        return F.interpolate(small, size=image.shape[-2:], mode="bilinear", align_corners=False)

    def _logit_size(self, size: Sequence[int]) -> tuple[int, int]:
        return size[0] // self.output_stride, size[1] // self.output_stride


def _random_offset(vertical: int, horizontal: int) -> tuple[int, int]:
    return random.randrange(vertical), random.randrange(horizontal)


def _mean_attention(out: ScaleLogits) -> Tensor:
    """Attention weighted by the class probabilities, (B, 1, H/os, W/os)."""
    return (out.attention * out.fused.softmax(dim=1)).sum(dim=1, keepdim=True)


def _checked_scales(scales: Sequence[float]) -> tuple[float, float]:
    if len(scales) != 2 or max(scales) != 1 or min(scales) <= 0:
        raise UserError(
            f"model.scales={list(scales)} is not supported.",
            fix="Give two factors of which the larger is 1, e.g. scales=[1, 0.5].",
        )
    return min(scales), max(scales)
