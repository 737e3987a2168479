"""From numpy arrays to the sample that models expect."""

from __future__ import annotations

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import PixelData
from mmseg.registry import TRANSFORMS
from mmseg.structures import SegDataSample


@TRANSFORMS.register_module()
class PackFields(BaseTransform):
    """Packs image and all fields.

    ``inputs`` is uint8 (3, h, w), BGR. ``data_samples`` has ``gt_sem_seg`` and, under its own name,
    every other field of ``seg_fields``, each as (1, h, w) in its own dtype: the preprocessor widens
    labels on the device, so that workers send one byte per pixel instead of eight.

    Args:
        meta_keys: What is kept as meta information.
    """

    META_KEYS = (
        "img_path",
        "seg_map_path",
        "ori_shape",
        "img_shape",
        "pad_shape",
        "scale_factor",
        "flip",
        "flip_direction",
        "reduce_zero_label",
    )

    def __init__(self, meta_keys: tuple[str, ...] = META_KEYS) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        """Returns dict(inputs, data_samples)."""
        sample = SegDataSample(
            metainfo={key: results[key] for key in self.meta_keys if key in results}
        )
        for key in results.get("seg_fields", []):
            name = "gt_sem_seg" if key == "gt_seg_map" else key
            sample.set_data({name: PixelData(data=_tensor(results[key][None]))})
        return {"inputs": _tensor(results["img"].transpose(2, 0, 1)), "data_samples": sample}


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
