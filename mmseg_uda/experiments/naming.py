"""The one stable name of a training, in the lineage's grammar.

The names are those of the DAFormer, HRDA, MIC and CSI repositories (without their date and random
suffix), so that runs can be compared with theirs at a glance.
"""

from __future__ import annotations

from mmseg_uda.experiments.grid import DepthMatching, Masking, Setup

DEFAULT_CROP = "512x512"
DEFAULT_RCS_MIN_CROP = 0.5
DEFAULT_LR = 6e-5

MASK_TAGS = {
    "separate": "sep",
    "separateaug": "spa",
    "separatesrc": "sps",
    "separatesrcaug": "spsa",
    "separatetrg": "spt",
    "separatetrgaug": "spta",
}

# Applied in this order to the whole name, as the original generators do.
REPLACEMENTS = (
    (".", ""),
    ("True", "T"),
    ("False", "F"),
    ("None", "N"),
    ("[", ""),
    ("]", ""),
    ("/", ""),
    (",", "j"),
    ("cityscapes", "cs"),
    ("synthia", "syn"),
    ("darkzurich", "dzur"),
)


def masking_token(masking: Masking) -> str:
    """Returns e.g. 'm64-0.7-spta': block, ratio, own teacher's settings, mode, weight."""
    parts = [f"m{masking.block}-{masking.ratio}"]
    if masking.alpha != "same":
        parts.append(f"a{masking.alpha}")
    if masking.threshold != "same":
        parts.append(f"p{masking.threshold}")
    parts.append(MASK_TAGS[masking.mode])
    if masking.weight != 1:
        parts.append(f"w{masking.weight}")
    return "-".join(parts)


def depth_token(depth: DepthMatching) -> str:
    """Returns e.g. 'cdda0.56-0.54-0.003': thresholds, decay, and what differs from the full method.

    CDDA's own repository has no generator of names.
    """
    parts = [f"cdda{depth.reweight}", str(depth.relabel), str(depth.decay)]
    if len(depth.uses) < 3:
        parts.append("".join({"replace_source": "s"}.get(use, use[0]) for use in depth.uses))
    if depth.mask != "class":
        parts.append("row")
    if depth.trigger != "any":
        parts.append(depth.trigger)
    return "-".join(parts)


def uda_token(setup: Setup) -> str:
    """Returns the adaptation part of the name, e.g. 'dacs_rcs0.01-2.0_cpl2'."""
    parts = [setup.uda, *(f"{key}{value}" for key, value in setup.subdomains)]
    if setup.rcs_temperature is not None:
        token = f"rcs{setup.rcs_temperature}"
        if setup.rcs_min_crop != DEFAULT_RCS_MIN_CROP:
            token += f"-{setup.rcs_min_crop}"
        parts.append(token)
    if setup.sync_crop is not None:
        parts.append("sf{}x{}".format(*setup.sync_crop))
    if setup.margins is not None:
        parts.append({"v1": "cpl", "v2": "cpl2"}[setup.margins])
    if setup.masking is not None:
        parts.append(masking_token(setup.masking))
    if setup.depth is not None:
        parts.append(depth_token(setup.depth))
    return "_".join(parts)


def job_name(setup: Setup) -> str:
    """Returns the name of the training described by ``setup``."""
    parts = [f"{setup.source}2{setup.target}"]
    if setup.crop != DEFAULT_CROP:
        parts.append(setup.crop)
    parts += [uda_token(setup), setup.architecture]
    if setup.inference == "slide":
        parts.append("sl")
    parts += [setup.backbone, setup.schedule]
    if setup.relabelling is not None:
        parts.append("rl_{}_to_{}".format(*setup.relabelling.relabel))
    if setup.optimizer != "adamw":
        parts.append(setup.optimizer)
    if setup.lr != DEFAULT_LR:
        parts.append(str(setup.lr))
    if not setup.pmult:
        parts.append(f"pm{setup.pmult}")
    if setup.seed is not None:
        parts.append(f"s{setup.seed}")
    name = "_".join(parts)
    for old, new in REPLACEMENTS:
        name = name.replace(old, new)
    return name
