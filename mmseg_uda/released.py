"""Recognises configs of mmsegmentation 0.x, as they lie beside released checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmseg_uda.errors import UserError
from mmseg_uda.regular_files import read_text

JSON = ".json"
# Names that mmengine's configs keep for themselves.
RESERVED = ("filename", "text", "pretty_text", "env_variables")
# Keys that only such configs have.
SIGNS = (
    *("lr_config", "optimizer_config", "checkpoint_config", "evaluation", "dist_params"),
    *("workflow", "resume_from"),
)
_OUR_SIGNS = ("default_scope", "train_dataloader", "test_dataloader")
_PARTS = ("train", "val", "test")
_OLD_TYPES = ("MultiResEncoderDecoder", "UniHead", "MultiResAttentionWrapper", "SegFormerAdapter")


def is_released(cfg: Mapping[str, Any]) -> bool:
    """Whether a config is one of mmsegmentation 0.x."""
    if any(key in cfg for key in _OUR_SIGNS):
        return False
    data, model = cfg.get("data"), cfg.get("model")
    if not isinstance(model, Mapping):
        return False
    if any(key in cfg for key in SIGNS):
        return True
    if isinstance(data, Mapping) and any(key in data for key in ("samples_per_gpu", *_PARTS)):
        return True
    names = [
        str(one.get("type"))
        for one in (model, model.get("backbone"), model.get("decode_head"), model.get("neck"))
        if isinstance(one, Mapping)
    ]
    return any(name in _OLD_TYPES or name.startswith("mit_b") for name in names)


def refuse_released(cfg: Mapping[str, Any], path: object) -> None:
    """Raises if a config that is to describe a training is one of mmsegmentation 0.x.

    Raises:
        UserError: Names the tools that take it.
    """
    if is_released(cfg):
        raise UserError(
            f"{path} is a config of mmsegmentation 0.x, which describes its training in other "
            "words.",
            fix="Train a config under configs/. tools/test.py, tools/infer.py, tools/publish.py "
            "and dynalign_mapillary.py take the file with a released checkpoint.",
        )


def read_json(path: Path) -> dict[str, Any]:
    """Content of a released config that is JSON, which is data: nothing of it runs.

    Raises:
        UserError: The file is none.
    """
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"The config {path} cannot be read: {error}") from error
    if not isinstance(content, dict) or not is_released(content):
        raise UserError(
            f"{path} is no config of mmsegmentation 0.x.",
            fix="Configs of this project are Python files under configs/.",
        )
    return {key: value for key, value in content.items() if key not in RESERVED}
