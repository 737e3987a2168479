"""One folder per published method: its components, the pure functions of its maths, a card."""

from mmseg_uda.methods import csi, daformer, mic

__all__ = ["csi", "daformer", "mic"]
