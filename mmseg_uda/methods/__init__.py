"""One folder per published method: its components, the pure functions of its maths, a card."""

from mmseg_uda.methods import cdda, csi, daformer, mic, ssda

__all__ = ["cdda", "csi", "daformer", "mic", "ssda"]
