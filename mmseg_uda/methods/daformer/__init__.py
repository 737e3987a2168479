"""DAFormer (Hoyer et al., CVPR 2022): the thing-class ImageNet feature distance."""

from mmseg_uda.methods.daformer.feature_distance import (
    FeatureDistance,
    downscale_label,
    masked_distance,
)

__all__ = ["FeatureDistance", "downscale_label", "masked_distance"]
