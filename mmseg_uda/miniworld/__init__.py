"""The miniature world: rendered street scenes in the formats of the real data sets.

Four domains stand in for GTA, SYNTHIA, Cityscapes and ACDC, a fifth, web-like one trains the
miniature foundation models. Everything follows from a seed; nothing is downloaded.

Two seeds are kept apart. ``DEVELOPMENT_SEED`` renders the world on which gap, schedules and
thresholds were chosen; ``REPORTED_SEED`` renders the one that reported numbers come from.
"""

from mmseg_uda.miniworld.gap import DEVELOPMENT_SEED, REPORTED_SEED, STRENGTH
from mmseg_uda.miniworld.prepare import MiniworldPaths, WeightOptions, ensure_miniworld
from mmseg_uda.miniworld.world import WorldOptions

__all__ = [
    "DEVELOPMENT_SEED",
    "REPORTED_SEED",
    "STRENGTH",
    "MiniworldPaths",
    "WeightOptions",
    "WorldOptions",
    "ensure_miniworld",
]
