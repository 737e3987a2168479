"""One folder per published method: its components, the pure functions of its maths, a card."""

from mmseg_uda.methods import cdda, csi, daformer, dynalign, mic, srha, ssda

__all__ = ["cdda", "csi", "daformer", "dynalign", "mic", "srha", "ssda"]
