"""From the label files as published to trainId labels, class statistics and split lists."""

from .cityscapes import convert_cityscapes
from .gta import convert_gta, convert_gta16
from .synthia import convert_synthia

__all__ = ["convert_cityscapes", "convert_gta", "convert_gta16", "convert_synthia"]
