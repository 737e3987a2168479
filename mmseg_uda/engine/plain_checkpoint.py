"""Keeps checkpoints free of objects, so that they load without unpickling code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmseg.registry import HOOKS
from torch import Tensor

DROPPED = object()


def plain(value: Any) -> Any:
    """Tensors, plain numbers, strings and containers of them; ``DROPPED`` for anything else.

    numpy numbers become Python numbers; entries that are neither leave their container.
    """
    if value is None or isinstance(value, (bool, str, Tensor)):
        return value
    if isinstance(value, np.generic):
        # numpy's float64 is a float, but is pickled as an object of numpy.
        return value.item()
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, Mapping):
        items = ((key, plain(item)) for key, item in value.items())
        return {key: item for key, item in items if item is not DROPPED}
    if isinstance(value, (list, tuple, set)):
        kept = [item for item in map(plain, value) if item is not DROPPED]
        return tuple(kept) if isinstance(value, tuple) else kept
    return DROPPED


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Drops what is no weight, number or text from a checkpoint before it is written.

    The message hub's histories of logged scalars go too: they only smooth the log.
    """

    priority = "VERY_LOW"

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Makes every entry plain."""
        hub = checkpoint["message_hub"]
        checkpoint["message_hub"] = {
            "log_scalars": {},
            "runtime_info": hub["runtime_info"],
            "resumed_keys": {},
        }
        for key in list(checkpoint):
            if key != "state_dict":
                checkpoint[key] = plain(checkpoint[key])
