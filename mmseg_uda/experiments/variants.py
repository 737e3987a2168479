"""Short forms of a job that only check that it works: start-up test and debug run.

Both are pure functions from config to config, like the miniworld profile.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

STARTUP_ITERATIONS = 2
STARTUP_BANK = 8
STARTUP_IMAGES = 2
DEBUG_LOG_INTERVAL = 10
DEBUG_VAL_INTERVAL = 200


def startup(config: dict[str, Any]) -> dict[str, Any]:
    """Two steps with the target, through both phases of CSI, with a small bank for CDDA.

    An alignment takes two images.

    There is no validation and no checkpoint.
    """
    config = deepcopy(config)
    if "alignment" in config:
        config["limit"] = STARTUP_IMAGES
        return config
    config["train_cfg"] |= {
        "max_iters": STARTUP_ITERATIONS,
        "val_interval": STARTUP_ITERATIONS,
        "val_begin": STARTUP_ITERATIONS + 1,
    }
    hooks = config.setdefault("default_hooks", {})
    never = {"interval": 10**9, "save_last": False, "save_best": None}
    hooks["checkpoint"] = {**hooks.get("checkpoint", {"type": "CheckpointHook"}), **never}
    hooks["logger"] = {**hooks.get("logger", {"type": "LoggerHook"}), "interval": 1}
    source = config["train_dataloader"]["dataset"].get("source") or {}
    if source.get("type") == "AlignedDataset":
        source["partial"] = True  # the start-up test of the alignment made a few labels alone
    uda = config.get("uda") or {}
    if "target_start" in uda:
        uda["target_start"] = 0
    if uda.get("ema"):
        uda["ema"]["begin"] = 0
    relabel = uda.get("relabel")
    if relabel:
        relabel |= {"collect": (0, 1), "relabel": (1, STARTUP_ITERATIONS)}
    depth = uda.get("depth")
    if depth and depth.get("build") is not None:
        # A small bank of its own, so that two steps do not wait for hours.
        depth["bank"] += "_startup"
        depth["build"] = {**depth["build"], "count": STARTUP_BANK}
    return config


def keep_last(config: dict[str, Any]) -> dict[str, Any]:
    """The start-up test of a training whose weights another job of the table needs."""
    config = deepcopy(config)
    if "alignment" not in config:
        config["default_hooks"]["checkpoint"]["save_last"] = True
    return config


def debug(config: dict[str, Any]) -> dict[str, Any]:
    """The whole run with a denser log and earlier validations."""
    config = deepcopy(config)
    if "alignment" in config:
        return config
    hooks = config.setdefault("default_hooks", {})
    logger = hooks.get("logger", {"type": "LoggerHook"})
    hooks["logger"] = {**logger, "interval": DEBUG_LOG_INTERVAL}
    config["train_cfg"]["val_interval"] = DEBUG_VAL_INTERVAL
    return config
