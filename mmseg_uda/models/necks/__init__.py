"""Between encoder and decoder: resized levels, and pyramids of a single map."""

from mmseg_uda.models.necks.level_upsample import LevelUpsample
from mmseg_uda.models.necks.simple_pyramid import SimplePyramid

__all__ = ["LevelUpsample", "SimplePyramid"]
