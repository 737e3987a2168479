"""Under which terms the weights of pretrained encoders are passed on, where that is known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mmseg_uda.models.weights.pretrained import HUB_REPOSITORIES, TIMM_NAME


@dataclass(frozen=True)
class Licence:
    """Terms of a file of weights.

    Attributes:
        text: In words.
        id: The hub's short name of them; 'other' where it has none.
        name: What 'other' is called.
        link: Where they stand.
    """

    text: str
    id: str
    name: str | None = None
    link: str | None = None


SEGFORMER = Licence(
    "NVIDIA source code licence for SegFormer: non-commercial use only",
    "other",
    "nvidia-source-code-license-segformer",
    "https://github.com/NVlabs/SegFormer/blob/master/LICENSE",
)
_OPEN = {"apache-2.0": "Apache-2.0", "mit": "MIT", "bsd-3-clause": "BSD-3-Clause"}


def licence_of(checkpoint: str | None, network: Any) -> Licence | None:
    """Returns the licence of an encoder's initial weights; None if it is unknown.

    Args:
        checkpoint: Their name (``init_cfg.checkpoint``), or a path.
        network: The encoder; plain transformers state timm's licence.
    """
    name = str(checkpoint or "")
    if "miniworld/" in name:
        return Licence("Apache-2.0: made by mmseg_uda from drawn images", "apache-2.0")
    if re.search(r"(^|[/_])mit_b[0-5]\b", name):
        return SEGFORMER
    stated = getattr(network, "licence", None) if name else None
    if not isinstance(stated, str):
        return None
    if stated in _OPEN:
        return Licence(_OPEN[stated], stated)
    return Licence(f"{stated}: terms of its own", "other", stated)


def hub_name(checkpoint: str | None) -> str | None:
    """Returns the hub's repository of an encoder's initial weights; None if it has none."""
    name = str(checkpoint or "")
    return HUB_REPOSITORIES.get(name) or (f"timm/{name}" if TIMM_NAME.fullmatch(name) else None)
