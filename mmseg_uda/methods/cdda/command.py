"""What the commands that build banks share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, TRANSFORMS

from mmseg_uda.data_root import resolve_data_root
from mmseg_uda.errors import UserError
from mmseg_uda.methods.cdda.drawing import BankDraws, draws_of_training
from mmseg_uda.taxonomy import DEPTH_LOADER


def draws_of_config(cfg: Config, **options: Any) -> BankDraws:
    """The bank that a training with this config builds; no target image is looked at.

    Args:
        cfg: Config of an adaptation; ``uda.depth.build`` gives what ``options`` do not.
        options: ``count``, ``sampling``, ``seed``; None leaves an option to the config.

    Raises:
        UserError: The config has no source, or see ``BankDraws``.
    """
    init_default_scope("mmseg")
    data = (cfg.get("train_dataloader") or {}).get("dataset") or {}
    if not isinstance(data, Mapping) or data.get("type") != "DomainPairDataset":
        raise UserError(
            "A bank is drawn from the source of an adaptation, which this config does not have.",
            fix="Give one whose train_dataloader.dataset is a DomainPairDataset, e.g. of "
            "configs/cdda.",
        )
    chosen = {k: v for k, v in build_options(cfg).items() if k != "workers"}
    chosen |= {name: value for name, value in options.items() if value is not None}
    steps = (data.get("target") or {}).get("pipeline") or ()
    depth = next((s for s in steps if s.get("type") == DEPTH_LOADER), None)
    pair = DATASETS.build({**data, "target": None})
    return draws_of_training(pair, depth and TRANSFORMS.build(dict(depth)), **chosen)


def bank_folder(cfg: Config) -> Path | None:
    """The folder that ``uda.depth.bank`` names."""
    depth = (cfg.get("uda") or {}).get("depth") or {}
    return Path(resolve_data_root(depth["bank"])) if depth.get("bank") else None


def build_options(cfg: Config) -> dict[str, Any]:
    """``uda.depth.build`` of a config."""
    depth = (cfg.get("uda") or {}).get("depth") or {}
    return dict(depth.get("build") or {})
