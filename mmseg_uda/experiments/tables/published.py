"""Numbers of the hosts' papers, which several tables show.

Origins: the text of a released repository; a row of IoUs per class whose mean is the published
one; or memory, which nobody has compared with the paper: such numbers stay out of reports.
"""

from __future__ import annotations

from mmseg_uda.experiments.grid import Reported

CLASSES = (
    ("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign")
    + ("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train")
    + ("motorcycle", "bicycle")
)
SYNTHIA_CLASSES = tuple(c for c in CLASSES if c not in ("terrain", "truck", "train"))
LAST_OF_3 = "last checkpoint, mean of 3 seeds"
README = "its repository's README: last checkpoint, mean of 3 seeds"
SERVER = f"{README}, test server"
CHECKED = "last checkpoint, mean of 3 seeds, test server; agrees with its mean over classes"
TEST = "mIoU_test"
"""On the test server; ours are on the validation images, where the labels are public."""


def per_class(ious: str, origin: str, **means: float) -> Reported:
    """The IoU of each class, of 19 or SYNTHIA's 16, in their order, and means as printed."""
    values = [float(text) for text in ious.split()]
    classes = CLASSES if len(values) == len(CLASSES) else SYNTHIA_CLASSES
    named = {f"IoU.{name}": iou for name, iou in zip(classes, values, strict=True)}
    return Reported({**means, **named}, origin)


def on_the_server(miou: float, origin: str = SERVER) -> Reported:
    """A number of a benchmark whose test labels are not public."""
    return Reported({TEST: miou}, origin)


def remembered(miou: float, metric: str = "mIoU", deviation: float | None = None) -> Reported:
    """A number from memory that is to be compared with the paper."""
    spread = "" if deviation is None else f" (± {deviation:g})"
    return Reported({metric: miou}, f"from memory, unverified{spread}", verified=False)


GTA_DAFORMER = per_class(
    "95.7 70.2 89.4 53.5 48.1 49.6 55.8 59.4 89.9 47.9 92.5 "
    "72.2 44.7 92.3 74.5 78.2 65.1 55.9 61.8",
    LAST_OF_3,
    mIoU=68.3,
)
GTA_HRDA = per_class(
    "96.4 74.4 91.0 61.6 51.5 57.1 63.9 69.3 91.3 48.4 94.2 "
    "79.0 52.9 93.9 84.1 85.7 75.9 63.9 67.5",
    LAST_OF_3,
    mIoU=73.8,
)
GTA_MIC = per_class(
    "97.4 80.1 91.7 61.2 56.9 59.7 66.0 71.3 91.7 51.4 94.3 "
    "79.8 56.1 94.6 85.4 90.3 80.4 64.5 68.5",
    LAST_OF_3,
    mIoU=75.9,
)
SYNTHIA_DAFORMER = per_class(
    "84.5 40.7 88.4 41.5 6.5 50.0 55.0 54.6 86.0 89.8 73.2 48.2 87.2 53.2 53.9 61.7",
    LAST_OF_3,
    mIoU_16=60.9,
    mIoU_13=67.4,
)
SYNTHIA_HRDA = per_class(
    "85.2 47.7 88.8 49.5 4.8 57.2 65.7 60.9 85.3 92.9 79.4 52.8 89.0 64.7 63.9 64.9",
    LAST_OF_3,
    mIoU_16=65.8,
    mIoU_13=72.4,
)
SYNTHIA_MIC = per_class(
    "86.6 50.5 89.3 47.9 7.8 59.4 66.7 63.4 87.1 94.6 81.0 58.9 90.1 61.9 67.1 64.3",
    LAST_OF_3,
    mIoU_16=67.3,
    mIoU_13=74.0,
)
