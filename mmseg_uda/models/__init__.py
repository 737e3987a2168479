"""Networks: encoders, decoders, segmentors, losses and weights. Nothing here knows of adaptation.

Importing this package registers its classes in mmseg's registries.
"""

from mmseg_uda.models import (  # noqa: F401
    backbones,
    heads,
    losses,
    mask_classification,
    necks,
    segmentors,
    weights,
)
