"""Where weights come from: local folders, and the Hugging Face hub where there is a network."""

from __future__ import annotations

import functools
import os
import socket
import sys
from pathlib import Path

PRETRAINED_ROOT_VARIABLE = "MMSEG_UDA_PRETRAINED_ROOT"
HUB = ("huggingface.co", 443)
PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
OFFLINE = "HF_HUB_OFFLINE"


def pretrained_roots() -> list[Path]:
    """Folders searched for weights: the variable's, ``./pretrained``, the repository's."""
    roots = [Path.cwd() / "pretrained", Path(__file__).parents[1] / "pretrained"]
    override = os.environ.get(PRETRAINED_ROOT_VARIABLE)
    return [Path(override), *roots] if override else roots


def settle_for_cache_when_offline() -> None:
    """Tells the Hugging Face libraries of this process and its children to use their cache alone.

    Without a network they would retry for half a minute per file. Nothing changes where a proxy or
    another endpoint is set, as the hub cannot be probed directly there.
    """
    if any(os.environ.get(variable) for variable in (*PROXIES, "HF_ENDPOINT")):
        return
    if OFFLINE in os.environ or _answers():
        return
    os.environ[OFFLINE] = "1"
    # The package reads the variable when it is imported.
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None:
        constants.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]


@functools.cache
def _answers() -> bool:
    """Whether the hub can be reached; probed once per process."""
    try:
        socket.create_connection(HUB, timeout=5).close()
    except OSError:
        return False
    return True
