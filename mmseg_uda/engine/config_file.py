"""Reads config files with readable errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from mmseg_uda.cfg_options import merge_options, parse_options
from mmseg_uda.config_files import find_config, read_config
from mmseg_uda.engine.data_config import (
    carried_config,
    checked_model,
    registered_types_only,
    tell_imports,
)
from mmseg_uda.engine.released_config import from_released_config
from mmseg_uda.errors import UserError
from mmseg_uda.inspection import following_classes
from mmseg_uda.models.weights import is_published, published_meta
from mmseg_uda.released import JSON, is_released, refuse_released


def load_config(path: str | Path, options: Sequence[str] = ()) -> Config:
    """Loads a config file of a training and applies ``key=value`` options.

    Args:
        path: Python config file, with or without ``.py``, also below ``configs/``.
        options: As on the command line: ``uda.masking.mask_ratio=0.5``.

    Raises:
        UserError: If the file is missing (the nearest one is named) or cannot be parsed, or is a
            config of mmsegmentation 0.x, or an option is no key=value or does not fit the config.
    """
    cfg = read_config(path)
    refuse_released(cfg, path)
    merge_options(cfg, parse_options(options), path)
    cfg.merge_from_dict(following_classes(cfg, find_config(path), options))
    return cfg


def load_network_config(path: str | Path, options: Sequence[str] = ()) -> Config:
    """Loads a config for inference or evaluation, also one of mmsegmentation 0.x.

    Such configs lie beside the checkpoints of DAFormer, HRDA and MIC, as Python or as JSON, and are
    translated (see :mod:`mmseg_uda.engine.released_config`). JSON is data: it may name registered
    types only. So is a published model (a folder or ``hf://owner/name``), of which network and test
    pipeline are taken.

    Args:
        path: Config file, or published model.
        options: See :func:`load_config`. Of a released config, those under ``data.`` concern the
            config as it was released, the others what it becomes.

    Raises:
        UserError: See :func:`load_config`; or a part of a released config has no counterpart.
    """
    if is_published(path):
        carried = carried_config({"meta": published_meta(path)}, path)
        if carried is None:
            raise UserError(f"The config of {path} has no model.", fix="Publish the model again.")
        merge_options(carried, parse_options(options), path)
        return carried
    path = find_config(path)
    cfg = read_config(path)
    if not is_released(cfg):
        return load_config(path, options)
    values = parse_options(options)
    old = {key: value for key, value in values.items() if key.partition(".")[0] == "data"}
    merge_options(cfg, old, path)
    if path.suffix == JSON:
        tell_imports(cfg.pop("custom_imports", None), path)
        with registered_types_only():
            translated = from_released_config(cfg, path)
            translated.model = checked_model(translated.model.to_dict(), path)
    else:
        translated = from_released_config(cfg, path)
    merge_options(translated, {k: v for k, v in values.items() if k not in old}, path)
    return translated
