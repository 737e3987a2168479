"""Segmentor configs of the DAFormer lineage (mmseg 0.x), translated to ours.

Every key of such a config becomes one of ours, is known to concern training alone or nothing, or is
refused by name.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.config import ConfigDict
from mmseg.registry import MODELS

from mmseg_uda.cfg_options import TESTING_KEYS, arguments, nearest
from mmseg_uda.errors import UserError
from mmseg_uda.models.weights.pretrained import DOWNLOADS, HUB_REPOSITORIES

SEGMENTORS = {
    "EncoderDecoder": "SlideEncoderDecoder",
    "HRDAEncoderDecoder": "HRDAEncoderDecoder",
    "MultiResEncoderDecoder": "HRDAEncoderDecoder",
}
_HEADS = {"UniHead": "DAFormerHead", "MultiResAttentionWrapper": "HRDAHead"}
# what released code did where its configs say nothing
_HRDA_DEFAULTS: dict[str, Any] = {
    "hr_crop_size": None,
    "feature_scale": 1,
    "crop_coord_divisible": 1,
    "legacy_offset_range": True,
}
_MODEL_KEYS = (
    *("type", "pretrained", "backbone", "neck", "decode_head", "auxiliary_head", "init_cfg"),
    *("train_cfg", "test_cfg", "data_preprocessor", "num_stages"),
)
_HRDA_KEYS = (
    *("scales", "hr_crop_size", "feature_scale", "crop_coord_divisible", "legacy_offset_range"),
    *("hr_slide_inference", "hr_slide_overlapping", "blur_hr_crop"),
)
_HRDA_HEAD_KEYS = (
    *("single_scale_head", "scales", "attention_classwise", "attention_embed_dim"),
    *("fixed_attention", "hr_loss_weight", "lr_loss_weight"),
)
_MIT_KEYS = {"in_chans": "in_channels", "depths": "num_layers"}  # theirs → ours
_CROSS_ENTROPY_KEYS = ("avg_non_ignore", "loss_name", "loss_weight", "class_weight")
_LAYERS = ("embed_cfg", "embed_neck_cfg", "fusion_cfg")


def from_reference_config(model: Mapping[str, Any]) -> ConfigDict:
    """Translates a released ``model`` config, old class names included.

    ``pretrained`` becomes the backbone's ``init_cfg``; ``mit_b5`` becomes ``MiT``; the plain
    cross-entropy becomes ours, which reports the same numbers under the same key.

    Args:
        model: The ``model`` dict of an mmseg 0.x config of the lineage.

    Returns:
        What ``mmseg.registry.MODELS`` builds.

    Raises:
        UserError: A type or a key has no counterpart; the message names it.
    """
    cfg: dict[str, Any] = _plain(model)
    for key in ("type", "backbone", "decode_head"):
        if key not in cfg:
            raise UserError(f"The config's model has no {key!r}.", fix="Give the whole config.")
    cfg["type"] = SEGMENTORS.get(cfg["type"], cfg["type"])
    hrda = cfg["type"] == "HRDAEncoderDecoder"
    _check_keys(cfg, (*_MODEL_KEYS, *(_HRDA_KEYS if hrda else ())), "model")
    cfg["backbone"] = _backbone(dict(cfg["backbone"]), cfg.pop("pretrained", None))
    cfg["train_cfg"] = {}
    cfg["test_cfg"] = _test_cfg(cfg.get("test_cfg"))
    if cfg.get("neck") is not None:
        cfg["neck"] = _neck(dict(cfg["neck"]))
    else:
        cfg.pop("neck", None)
    if hrda:
        cfg = {**_HRDA_DEFAULTS, **cfg}
        cfg["decode_head"] = _hrda_head(dict(cfg["decode_head"]), cfg)
    for key in ("decode_head", "auxiliary_head"):
        if isinstance(cfg.get(key), (list, tuple)):
            cfg[key] = [_head(dict(head), f"model.{key}[{i}]") for i, head in enumerate(cfg[key])]
        elif cfg.get(key) is not None:
            cfg[key] = _head(dict(cfg[key]), f"model.{key}")
    return ConfigDict(cfg)


def _plain(value: Any) -> Any:
    """A copy in which configs are plain dicts."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(entry) for entry in value)
    return copy.copy(value)


def _check_keys(cfg: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    known = list(known)
    for key in cfg:
        if key not in known:
            raise UserError(
                f"{where}.{key} of the released config has no counterpart here.",
                fix=f"{nearest(key, known, where)}Take it out of a copy of the config if it does "
                "not change the network; else this network is not offered.",
            )


def _check_options(cfg: Mapping[str, Any], where: str) -> None:
    """Raises unless a type is registered and has all the options that it is given."""
    cls = MODELS.get(str(cfg.get("type")))
    if cls is None:
        raise UserError(
            f"{where}.type={cfg.get('type')!r} of the released config is not known here.",
            fix="Give the config of this project that builds the same network.",
        )
    _check_keys(cfg, ("type", *arguments(cls)), where)


def _refuse(key: str, value: Any, fix: str) -> None:
    raise UserError(f"{key}={value!r} of the released config is not offered here.", fix=fix)


def _test_cfg(given: Mapping[str, Any] | None) -> dict[str, Any]:
    cfg = {"mode": "whole", **(given or {})}
    _check_keys(cfg, TESTING_KEYS, "model.test_cfg")
    return {key: tuple(v) if isinstance(v, list) else v for key, v in cfg.items()}


def _backbone(backbone: dict[str, Any], pretrained: str | None) -> dict[str, Any]:
    kind = str(backbone.get("type"))
    backbone.pop("ema_drop_path_rate", None)  # a teacher's
    own = backbone.pop("pretrained", None)
    pretrained = own if pretrained is None else pretrained
    if kind.startswith("mit_b"):
        backbone.pop("style", None)  # it chooses nothing
        if backbone.pop("freeze_patch_embed", False):
            _refuse("model.backbone.freeze_patch_embed", True, "Inference needs it not; drop it.")
        initial = backbone.get("init_cfg") or {}
        if initial.get("type") == "Pretrained":  # the published names of its parameters
            pretrained = pretrained or backbone.pop("init_cfg")["checkpoint"]
        backbone = {_MIT_KEYS.get(key, key): value for key, value in backbone.items()}
        backbone.update(type="MiT", variant=kind.removeprefix("mit_"))
    _check_options(backbone, "model.backbone")
    if pretrained is not None:
        backbone["init_cfg"] = _initial_weights(pretrained)
    return backbone


def _initial_weights(pretrained: str) -> dict[str, Any]:
    name = pretrained.rsplit("/", 1)[-1].removesuffix(".pth")
    if name in {*DOWNLOADS, *HUB_REPOSITORIES} or pretrained.startswith("pretrained/"):
        return {"type": "BackboneWeights", "checkpoint": name}
    if "://" in pretrained:  # mmengine knows further zoos
        return {"type": "Pretrained", "checkpoint": pretrained}
    return {"type": "BackboneWeights", "checkpoint": pretrained}


def _neck(neck: dict[str, Any]) -> dict[str, Any]:
    if neck.get("type") != "SegFormerAdapter":
        _check_options(neck, "model.neck")
        return neck
    _check_keys(neck, ("type", "out_layers", "scales"), "model.neck")
    layers, scales = list(neck.get("out_layers", [3])), list(neck.get("scales", [4]))
    if layers != [3]:
        _refuse("model.neck.out_layers", layers, "Of these necks, those of the last level are.")
    return {"type": "LevelUpsample", "out_layers": layers, "scales": scales}


def _hrda_head(head: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """HRDA's decoder without what the segmentor tells it; ``model`` may take over a key."""
    cropped = model["hr_crop_size"] is not None
    if head.pop("enable_hr_crop", cropped) != cropped:
        _refuse("model.decode_head.enable_hr_crop", not cropped, "model.hr_crop_size decides.")
    for key in ("hr_slide_inference", "scales"):
        if key not in head:
            continue
        value = head.pop(key)
        if sorted(_listed(model.setdefault(key, value))) != sorted(_listed(value)):
            _refuse(f"model.decode_head.{key}", value, f"model.{key} decides.")
    if head.pop("debug_output_attention", False):
        _refuse("model.decode_head.debug_output_attention", True, "Use --hrda-out ATT.")
    if head.get("single_scale_head") is not None:
        head["single_scale_head"] = _HEADS.get(head["single_scale_head"], head["single_scale_head"])
    return head


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _head(head: dict[str, Any], where: str) -> dict[str, Any]:
    head["type"] = _HEADS.get(head.get("type", ""), head.get("type"))
    options = dict(head)
    if head["type"] == "HRDAHead":  # its other options are the shared decoder's
        shared = "DAFormerHead" if "decoder_params" in head else "DLV2Head"
        options = {key: value for key, value in head.items() if key not in _HRDA_HEAD_KEYS}
        options["type"] = head.get("single_scale_head") or shared
    _check_options(options, where)
    loss = head.get("loss_decode")
    if isinstance(loss, (list, tuple)):
        head["loss_decode"] = [
            _loss(dict(one), f"{where}.loss_decode[{i}]") for i, one in enumerate(loss)
        ]
    elif loss is not None:
        head["loss_decode"] = _loss(dict(loss), f"{where}.loss_decode")
    if isinstance(head.get("decoder_params"), dict):
        head["decoder_params"] = _decoder_params(head["decoder_params"])
    return head


def _loss(loss: dict[str, Any], where: str) -> dict[str, Any]:
    """The plain cross-entropy as ours; others as they are."""
    if isinstance(loss.get("class_weight"), str):
        _refuse(f"{where}.class_weight", loss["class_weight"], "Write the list of weights itself.")
    _check_options(loss, where)
    plain = loss["type"] == "CrossEntropyLoss" and loss.get("reduction", "mean") == "mean"
    if not plain or loss.get("use_sigmoid") or loss.get("use_mask"):
        return loss
    kept = {key: loss[key] for key in _CROSS_ENTROPY_KEYS if loss.get(key) is not None}
    return {"type": "PixelCrossEntropy", "loss_weight": 1.0, **kept}


def _decoder_params(params: dict[str, Any]) -> dict[str, Any]:
    """Without ``fusion``, a name that chose nothing any more."""
    params = {key: value for key, value in params.items() if key != "fusion"}
    for key in _LAYERS:
        if isinstance(params.get(key), dict):
            params[key] = {k: value for k, value in params[key].items() if k != "fusion"}
    return params
