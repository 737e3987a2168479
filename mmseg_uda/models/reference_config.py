"""Segmentor configs of the DAFormer lineage (mmseg 0.x), translated to ours."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

_SEGMENTORS = {
    "EncoderDecoder": "SlideEncoderDecoder",
    "MultiResEncoderDecoder": "HRDAEncoderDecoder",
}
_HEADS = {"UniHead": "DAFormerHead", "MultiResAttentionWrapper": "HRDAHead"}
_NECKS = {"SegFormerAdapter": "LevelUpsample"}
# what released code did where its configs say nothing
_HRDA_DEFAULTS: dict[str, Any] = {
    "hr_crop_size": None,
    "feature_scale": 1,
    "crop_coord_divisible": 1,
    "legacy_offset_range": True,
}
_DROPPED_BACKBONE_KEYS = ("style", "ema_drop_path_rate")


def from_reference_config(model: Mapping[str, Any]) -> dict[str, Any]:
    """Translate a released ``model`` config, old class names included.

    ``pretrained`` becomes the backbone's ``init_cfg``; ``mit_b5`` becomes ``MiT``; the plain
    cross-entropy becomes ours, which reports the same numbers under the same key.

    Args:
        model: The ``model`` dict of an mmseg 0.x config of the lineage.

    Returns:
        A dict that ``mmseg.registry.MODELS`` builds.
    """
    cfg: dict[str, Any] = copy.deepcopy(dict(model))
    cfg["type"] = _SEGMENTORS.get(cfg["type"], cfg["type"])
    pretrained = cfg.pop("pretrained", None)
    cfg.setdefault("test_cfg", {"mode": "whole"})
    cfg["backbone"] = _backbone(dict(cfg["backbone"]), pretrained)
    if cfg["type"] == "HRDAEncoderDecoder":
        cfg = {**_HRDA_DEFAULTS, **cfg}
    if isinstance(cfg.get("neck"), Mapping):
        cfg["neck"] = {**cfg["neck"], "type": _NECKS.get(cfg["neck"]["type"], cfg["neck"]["type"])}
    for key in ("decode_head", "auxiliary_head"):
        if isinstance(cfg.get(key), Mapping):
            cfg[key] = _head(dict(cfg[key]))
    return cfg


def _backbone(backbone: dict[str, Any], pretrained: str | None) -> dict[str, Any]:
    kind = backbone["type"]
    if kind.startswith("mit_b"):
        for key in _DROPPED_BACKBONE_KEYS:
            backbone.pop(key, None)
        backbone.update(type="MiT", variant=kind.removeprefix("mit_"))
    if pretrained is not None:
        name = pretrained.rsplit("/", 1)[-1].removesuffix(".pth")
        backbone["init_cfg"] = {"type": "BackboneWeights", "checkpoint": name}
    return backbone


def _head(head: dict[str, Any]) -> dict[str, Any]:
    head["type"] = _HEADS.get(head["type"], head["type"])
    loss = dict(head.get("loss_decode", {}))
    if loss.get("type") == "CrossEntropyLoss" and not loss.get("use_sigmoid", False):
        head["loss_decode"] = {
            "type": "PixelCrossEntropy",
            "loss_weight": loss.get("loss_weight", 1.0),
        }
    if "single_scale_head" in head:
        head["single_scale_head"] = _HEADS.get(head["single_scale_head"], head["single_scale_head"])
    params = head.get("decoder_params")
    if isinstance(params, dict):
        params.pop("fusion", None)
    return head
