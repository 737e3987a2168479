"""MinEnt: direct entropy minimization (Vu et al., CVPR 2019)."""

from mmseg_uda.methods.minent.minent import EntropyMinimization, normalized_entropy

__all__ = ["EntropyMinimization", "normalized_entropy"]
