"""The miniworld profile of taxonomy alignment: another proposer and scorer, smaller images.

Like ``profiles``: everything that is changed stands in the constants, the rest (taxonomy map,
votes, fusion, decision) stays as published.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

# --- What is scaled ---

SCORER = {"type": "OpenClip", "checkpoint": "pretrained/miniworld/detail_clip"}
# There is no miniature SAM: graph-based regions stand in for it.
SAM_STAND_IN = "FelzenszwalbProposer"
PROPOSERS: dict[str, dict[str, Any]] = {
    SAM_STAND_IN: {"type": SAM_STAND_IN, "scale": 100.0, "sigma": 0.5, "min_size": 16},
    "SLICProposer": {"type": "SLICProposer", "segments": 300, "compactness": 10.0, "sigma": 0.5},
    "GridProposer": {"type": "GridProposer", "cell": 8},
    "ConnectedComponentProposer": {"type": "ConnectedComponentProposer", "min_area": 8},
}
# Pixels here per pixel of the published working size, 1920x1440.
SCALE = 256 / 1920
MINOR_PADDING = 3  # 20
CONTEXT_OFFSETS = (0, 200)  # published
# 100, the scale that published CLIPs have learned. The miniature one ends at 14; on the development
# world 25 to 40 score best: at 100 it is sure of pieces of objects that it does not know.
LOGIT_SCALE = 40
WORKERS = 1
# Of an alignment: as in ``disk``, with 190 regions and features of 64 numbers. Measured.
ALIGNED_BYTES = 0.12e6
ALIGNED_IMAGES = {
    ("Mapillary", "train"): 120,
    ("Mapillary", "val"): 80,
    ("IDD", "train"): 120,
    ("IDD", "val"): 80,
    ("Cityscapes", "val"): 100,
}


def is_alignment(config: Mapping[str, Any]) -> bool:
    """Whether a resolved config aligns taxonomies; it has no network of its own."""
    return "alignment" in config


def needs_fine_classes(config: Mapping[str, Any]) -> bool:
    """Whether a resolved config aligns taxonomies or learns from such labels."""
    return is_alignment(config) or (config.get("uda") or {}).get("type") == "Retraining"


def scale_alignment(config: dict[str, Any]) -> None:
    """Scales proposer, scorer and geometry in place."""
    alignment = config["alignment"]
    given = alignment["proposer"]
    alignment["proposer"] = deepcopy(PROPOSERS.get(given["type"], PROPOSERS[SAM_STAND_IN]))
    if given.get("source"):  # of components: labels or colours
        alignment["proposer"]["source"] = given["source"]
    alignment["scorer"] = deepcopy(SCORER)
    options = dict(alignment.get("options") or {})
    offsets = options.get("context_offsets", CONTEXT_OFFSETS)
    alignment["options"] = {
        **options,
        "working_size": "original",
        "padding_scale": SCALE,
        "minor_padding": MINOR_PADDING,
        "logit_scale": LOGIT_SCALE,
        "context_offsets": tuple(round(offset * SCALE) for offset in offsets),
    }
    config["workers"] = WORKERS
