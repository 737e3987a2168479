"""Transforms that bring image, label and valid mask into a sample."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_uda.errors import UserError
from mmseg_uda.labels import read_image, read_label, read_train_ids


@TRANSFORMS.register_module()
class LoadFrame(BaseTransform):
    """Reads ``img_path`` to ``img``: uint8, (h, w, 3), BGR, turned upright (EXIF orientation).

    A damaged file is named.
    """

    def transform(self, results: dict) -> dict:
        """Adds img, img_shape, ori_shape (height, width) and an empty list of seg_fields."""
        image = read_image(results["img_path"])
        results["img"] = image
        results["img_shape"] = image.shape[:2]
        results["ori_shape"] = image.shape[:2]
        results.setdefault("seg_fields", [])
        return results


@TRANSFORMS.register_module()
class LoadTrainIds(BaseTransform):
    """Reads ``seg_map_path`` to ``gt_seg_map``: uint8 trainIds, (h, w), native resolution.

    The data set's label map is applied, and a label that was drawn on the stored raster of an image
    that is turned is turned with it. Samples without a label path stay without a label, so that
    one test pipeline serves labelled and unlabelled images.

    Raises:
        UserError: The file is damaged, has another size than the image, or holds an id outside the
            taxonomy; each names the file.
    """

    def transform(self, results: dict) -> dict:
        """Adds gt_seg_map and lists it in seg_fields."""
        path = results.get("seg_map_path")
        if path is None:
            return results
        if "label_ids" in results:
            shape, image = results.get("ori_shape"), results.get("img_path")
            label = read_train_ids(path, results["label_ids"], shape, image)
        else:
            label = read_label(path)
        results["gt_seg_map"] = label
        results["seg_fields"].append("gt_seg_map")
        return results


@TRANSFORMS.register_module()
class MarkValid(BaseTransform):
    """Adds ``valid_mask`` (uint8, (h, w)): 0 in the margins of the native image, 1 elsewhere.

    Pseudo-labels get no weight in the margins: Cityscapes shows the ego car's bonnet at the bottom
    and artefacts of the rectification at the borders (HRDA's ``crop_pseudo_margins``). Belongs
    between loading and resizing. Without margins the sample is left alone.

    Args:
        margins: (top, bottom, left, right) in native pixels; None uses the data set's.
        shares: The same as shares of height and width, rounded down, in place of pixels; VFM-UDA:
            (0.03, 0.25, 0.03, 0.03).

    Raises:
        UserError: The margins leave nothing of the image, or both kinds are given.
    """

    def __init__(
        self,
        margins: tuple[int, int, int, int] | None = None,
        shares: tuple[float, float, float, float] | None = None,
    ) -> None:
        if margins is not None and shares is not None:
            raise UserError("MarkValid has both margins and shares.", fix="Leave one of them out.")
        self.margins = margins
        self.shares = shares

    def _margins(self, height: int, width: int) -> tuple[int, int, int, int] | None:
        if self.shares is None:
            return self.margins
        top, bottom, left, right = self.shares
        return int(top * height), int(bottom * height), int(left * width), int(right * width)

    def transform(self, results: dict) -> dict:
        """Adds valid_mask and lists it in seg_fields."""
        height, width = results["img"].shape[:2]
        margins = self._margins(height, width) or results.get("crop_pseudo_margins")
        if margins is None:
            return results
        top, bottom, left, right = margins
        if top + bottom >= height or left + right >= width:
            raise UserError(
                f"crop_pseudo_margins={list(margins)} leave nothing of {results['img_path']} "
                f"({width}x{height}).",
                fix="Give them in pixels of the native image: [top, bottom, left, right].",
            )
        mask = np.zeros((height, width), np.uint8)
        mask[top : height - bottom, left : width - right] = 1
        results["valid_mask"] = mask
        results["seg_fields"].append("valid_mask")
        return results
