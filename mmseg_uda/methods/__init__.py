"""One folder per published method: its components, the pure functions of its maths, a card."""

from mmseg_uda.methods import daformer, mic

__all__ = ["daformer", "mic"]
