"""MIC (Hoyer et al., CVPR 2023): masked image consistency."""

from mmseg_uda.methods.mic.masked_consistency import MaskedConsistency, mask_image

__all__ = ["MaskedConsistency", "mask_image"]
