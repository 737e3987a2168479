"""The networks of the miniworld profile: one small encoder, and the papers' decoders, narrow."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from mmseg_uda.experiments.naming import FOR_RESNETS, decoder

WEIGHTS = "miniworld/nano_backbone"
CHANNELS = (24, 48, 72, 96)
HEAD_CHANNELS = 64
NORM = {"type": "BN", "requires_grad": True}
# Like the published MiT's, statistics of one image; the same in miniworld/nano_weights.py. The
# decoders keep their published norm.
BACKBONE = {
    "type": "NanoBackbone",
    "channels": CHANNELS,
    "norm_cfg": {"type": "GN", "num_groups": 8},
    "init_cfg": {"type": "BackboneWeights", "checkpoint": WEIGHTS},
}
DILATED = {"strides": (2, 2, 1, 1), "dilations": (1, 1, 2, 4)}  # 1/8, as published
EMBEDDING = {"type": "mlp", "act_cfg": None, "norm_cfg": None}
FUSION = {
    "type": "conv",
    "kernel_size": 1,
    "act_cfg": {"type": "ReLU"},
    "norm_cfg": NORM,
}
ALL_LEVELS = {"in_channels": list(CHANNELS), "in_index": [0, 1, 2, 3]}
LAST_LEVEL = {"in_channels": CHANNELS[3], "in_index": 3}
DAFORMER = {
    **ALL_LEVELS,
    "channels": HEAD_CHANNELS,
    "norm_cfg": NORM,
    "decoder_params": {
        "embed_dims": HEAD_CHANNELS,
        "embed_cfg": EMBEDDING,
        "embed_neck_cfg": EMBEDDING,
        "fusion_cfg": FUSION,
    },
}
LOW_CHANNELS = 16
HEADS: dict[str, dict[str, Any]] = {
    "dlv2": LAST_LEVEL,
    "dlv2red": LAST_LEVEL,
    "da": {**LAST_LEVEL, "channels": HEAD_CHANNELS, "pam_channels": LOW_CHANNELS},
    "isa": {**LAST_LEVEL, "channels": HEAD_CHANNELS, "isa_channels": HEAD_CHANNELS // 2},
    "dlv3p": {
        **LAST_LEVEL,
        "channels": HEAD_CHANNELS,
        "c1_in_channels": CHANNELS[0],
        "c1_channels": LOW_CHANNELS,
    },
    "segformer": {**ALL_LEVELS, "decoder_params": {"embed_dim": HEAD_CHANNELS}},
    "upernet": {**ALL_LEVELS, "channels": HEAD_CHANNELS},
    "upernet_ch256": {**ALL_LEVELS, "channels": HEAD_CHANNELS // 2},
    "daformer_sepaspp": DAFORMER,
    "daformer_conv1": DAFORMER,
}


def scale_network(model: dict[str, Any], scaled: Callable[[Any], Any]) -> None:
    """Takes the small encoder and narrows the decoder, in place.

    Args:
        model: Config of a segmentor.
        scaled: Pixels of the paper's images, a number or several, to pixels of the profile's.
    """
    name = decoder(model)
    model["backbone"] = deepcopy(BACKBONE)
    if name in FOR_RESNETS and not model.get("neck"):
        model["backbone"] |= DILATED
    model.pop("auxiliary_head", None)
    head = model["decode_head"]
    head |= deepcopy(HEADS[name]) if name in HEADS else _other_fusion(head["decoder_params"])
    if head["type"] == "HRDAHead":
        head["attention_embed_dim"] = HEAD_CHANNELS
    if "data_preprocessor" in model:
        model["data_preprocessor"]["size"] = scaled(model["data_preprocessor"]["size"])
    if model.get("hr_crop_size"):
        model["hr_crop_size"] = scaled(model["hr_crop_size"])
    test = model.get("test_cfg") or {}
    if test.get("mode") == "slide":
        test |= {key: scaled(test[key]) for key in ("crop_size", "stride")}


def _other_fusion(params: dict[str, Any]) -> dict[str, Any]:
    """A variant of DAFormer's decoder keeps its layers."""
    narrow = deepcopy(params) | {"embed_dims": HEAD_CHANNELS}
    if "isa_channels" in narrow["fusion_cfg"]:
        narrow["fusion_cfg"]["isa_channels"] = HEAD_CHANNELS // 2
    return {**deepcopy(DAFORMER), "decoder_params": narrow}
