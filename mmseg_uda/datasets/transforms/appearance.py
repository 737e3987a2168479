"""Colour jitter and blur of domain generalization (SRHA).

Randomness comes from numpy's global state, which ``DomainPairDataset`` sets per sample.
"""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmseg_uda.errors import UserError


@TRANSFORMS.register_module()
class RandomColorJitter(BaseTransform):
    """torchvision's colour jitter: brightness, contrast, saturation and hue in random order.

    Factors are uniform in [1 - x, 1 + x], the hue's shift in [-hue, hue] of a whole turn.

    Args:
        brightness, contrast, saturation: Largest change x, below 1.
        hue: Largest shift, at most 0.5.
        prob: Probability that anything changes.
    """

    def __init__(
        self,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.1,
        prob: float = 0.5,
    ) -> None:
        if not (0 <= max(brightness, contrast, saturation) <= 1 and 0 <= hue <= 0.5):
            raise UserError(
                f"RandomColorJitter: brightness={brightness}, contrast={contrast}, "
                f"saturation={saturation}, hue={hue} are out of range.",
                fix="Use 0 to 1, and 0 to 0.5 for hue.",
            )
        from torchvision.transforms import functional  # a second to import, for few trainings

        self.prob = prob
        self.factors = (
            (functional.adjust_brightness, 1 - brightness, 1 + brightness),
            (functional.adjust_contrast, 1 - contrast, 1 + contrast),
            (functional.adjust_saturation, 1 - saturation, 1 + saturation),
            (functional.adjust_hue, -hue, hue),
        )

    def transform(self, results: dict) -> dict:
        """Changes img: uint8, (h, w, 3), BGR."""
        if np.random.random() >= self.prob:
            return results
        image = Image.fromarray(np.ascontiguousarray(results["img"][..., ::-1]))
        for index in np.random.permutation(len(self.factors)):
            adjust, low, high = self.factors[index]
            image = adjust(image, float(np.random.uniform(low, high)))
        results["img"] = np.ascontiguousarray(np.asarray(image)[..., ::-1])
        return results


@TRANSFORMS.register_module()
class RandomGaussianBlur(BaseTransform):
    """Gaussian blur of random width, with replicated borders and a kernel of 4 standard deviations.

    The result is truncated, not rounded, as published.

    Args:
        sigma: Least and largest standard deviation in pixels.
        prob: Probability; published: always.
    """

    # What the sums of float32 may lose: without it, a grey 80 could become 79.
    SLACK = 2e-4

    def __init__(self, sigma: tuple[float, float] = (0.15, 1.30), prob: float = 1.0) -> None:
        if not 0 < sigma[0] <= sigma[1]:
            raise UserError(
                f"RandomGaussianBlur: sigma={sigma} is no range.",
                fix="Published: sigma=(0.15, 1.3).",
            )
        self.sigma = (sigma[0], sigma[1])
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Blurs img: uint8, (h, w, 3)."""
        if np.random.random() >= self.prob:
            return results
        results["img"] = gaussian_blur(results["img"], float(np.random.uniform(*self.sigma)))
        return results


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs with radius int(4 sigma + 0.5) and truncates.

    Args:
        image: uint8, (h, w, 3).
        sigma: Standard deviation in pixels, positive.

    Returns:
        uint8, (h, w, 3).
    """
    side = 2 * int(4 * sigma + 0.5) + 1
    blurred = cv2.GaussianBlur(
        image.astype(np.float32), (side, side), sigma, borderType=cv2.BORDER_REPLICATE
    )
    return (blurred + RandomGaussianBlur.SLACK).clip(0, 255).astype(np.uint8)
