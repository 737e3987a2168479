"""One folder per published method: its components, the pure functions of its maths, a card."""

from mmseg_uda.methods import (
    advseg,
    cdda,
    csi,
    daformer,
    dynalign,
    mic,
    minent,
    srha,
    ssda,
    vfm,
)

__all__ = [
    "advseg",
    "cdda",
    "csi",
    "daformer",
    "dynalign",
    "mic",
    "minent",
    "srha",
    "ssda",
    "vfm",
]
