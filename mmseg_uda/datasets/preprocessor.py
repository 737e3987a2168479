"""From a collated batch to normalised tensors on the device."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.registry import MODELS

from mmseg_uda.errors import UserError

from .transforms.diagnosis import DIAGNOSIS_LABEL

LABEL = "gt_sem_seg"


@MODELS.register_module()
class DomainDataPreProcessor(SegDataPreProcessor):
    """mmsegmentation's preprocessor for batches with one or several domains.

    Training images are converted to RGB, normalised, and padded at the right and bottom to ``size``
    with 0, which is the mean colour. Labels are padded with ``seg_pad_val`` and widened to int64;
    every other field is padded with 0 and keeps its dtype, so that padding is never valid target
    area. A batch of the form {domain: {inputs, data_samples}} is treated domain by domain.

    Args: those of ``SegDataPreProcessor``, without ``batch_augments``.

    Raises:
        UserError: ``batch_augments`` are asked for: they would change images alone.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.batch_augments is not None:
            raise UserError(
                "data_preprocessor.batch_augments has no effect.",
                fix="Transforms in the pipelines of the data sets change image and label together.",
            )
        # Copies to a GPU are queued; what uses them there runs after them.
        self._non_blocking = True

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Returns the batch with ``inputs`` as one float32 tensor (B, 3, H, W) per domain."""
        if "inputs" not in data:
            return {domain: self.forward(part, training) for domain, part in data.items()}
        if not training:
            return super().forward(data, training)
        data = self.cast_data(data)  # type: ignore[assignment]
        images = data["inputs"]
        height, width = self._padded_size(images)
        samples = data.get("data_samples") or []
        batch = torch.full(
            (len(images), 3, height, width), float(self.pad_val), device=images[0].device
        )
        for slot, image in zip(batch, images, strict=True):
            slot[:, : image.shape[1], : image.shape[2]] = self._normalised(image)
        for image, sample in zip(images, samples, strict=bool(samples)):
            self._pad_fields(sample, height, width)
            sample.set_metainfo({"img_shape": tuple(image.shape[1:]), "pad_shape": (height, width)})
        return {"inputs": batch, "data_samples": samples}

    def _padded_size(self, images: list[torch.Tensor]) -> tuple[int, int]:
        height = max(image.shape[1] for image in images)
        width = max(image.shape[2] for image in images)
        if self.size is not None:
            height, width = max(height, self.size[0]), max(width, self.size[1])
        step = self.size_divisor or 1
        return -(-height // step) * step, -(-width // step) * step

    def _normalised(self, image: torch.Tensor) -> torch.Tensor:
        if self._channel_conversion:
            image = image.flip(0)  # an index list would have to be copied to the device first
        image = image.float()
        return (image - self.mean) / self.std if self._enable_normalize else image

    def _pad_fields(self, sample: Any, height: int, width: int) -> None:
        for name in sample.keys():  # noqa: SIM118 (a data element, not a dict)
            field = sample.get(name)
            if not isinstance(field, PixelData):
                continue
            data = field.data
            if name == LABEL:
                data = data.long()
            right, bottom = width - data.shape[-1], height - data.shape[-2]
            if right or bottom:
                value = self.seg_pad_val if name in (LABEL, DIAGNOSIS_LABEL) else 0
                data = torch.nn.functional.pad(data, (0, right, 0, bottom), value=value)
            # A new object: the batch may be seen again (a data set kept in memory).
            sample.set_data({name: PixelData(data=data)})
