"""AdvSeg: adversarial alignment of the output space (Tsai et al., CVPR 2018)."""

from mmseg_uda.methods.advseg.adversarial import AdversarialTraining
from mmseg_uda.methods.advseg.discriminator import Discriminator

__all__ = ["AdversarialTraining", "Discriminator"]
