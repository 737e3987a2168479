"""The miniworld profile of domain generalization: networks in stages, several targets.

Like ``profiles``: everything that is changed stands in the constants, the rest (augmentation and
its order, class-uniform sampling, optimizer groups) stays as published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

# --- What is scaled ---

# Published: 40 000 steps of 16 images (baselines), 60 000 or 120 000 of 8 or 9 (SRHA). The first
# two keep their ratio.
STEPS = 50  # published steps for each one here,
MAX_ITERATIONS = 1200  # up to this
VALIDATIONS = 2
# 8 (baselines) and 4 (SRHA). With 2 a ResNet-50 baseline hardly learned: docs/miniworld.md.
BATCH_SHARE = 0.5
# Factor on every row's published rate: 0.01 (baselines, SRHA's decoder) to 0.1, 1e-4 of AdamW to
# 1e-3. Mask2Former's 1e-4 of SGD, which hardly trains it, hardly trains it here.
RATE_FACTORS = {"SGD": 10, "AdamW": 10}
# On the published 10. Its gradient is larger than the cross-entropy's at first, and holds the
# predictions together before they tell classes apart; so short a run does not get over that.
CONSISTENCY_SHARE = 0.1
# On the published factors of the stages: alignment is a square distance of features, and those of
# the miniature encoders have other sizes. Sum over the stages of factor times mean square: 1.73
# with the published MobileNetV2 (photographs), 5.8, 8.2, 3.4 and 1.4 with these four (source).
ALIGNMENT_SHARES = {
    "resnet50": 0.3,
    "resnet101": 0.2,
    "mobilenet_v2": 0.5,
    "shufflenet_v2_x1_0": 1.2,
}

CROP = (128, 128)  # 768
TILE = 64  # 1024: a GTA frame has one whole tile
BLUR = (0.05, 0.40)  # (0.15, 1.30) pixels of images with three to eight times as many rows
MAPILLARY_SIDE = 128  # 1536
GTA_SIZE = (256, 128)  # 1914 x 1052

WEIGHTS = "miniworld/{arch}"
# Factors on channels and blocks; the same in miniworld/staged_weights.py, which makes the weights.
REDUCED = {
    "resnet50": (0.25, 0.5),
    "resnet101": (0.25, 0.34),
    "mobilenet_v2": (0.5, 0.5),
    "shufflenet_v2_x1_0": (0.5, 0.5),
}
# Of the four stages, with these factors.
CHANNELS = {
    "resnet50": (64, 128, 256, 512),
    "resnet101": (64, 128, 256, 512),
    "mobilenet_v2": (16, 32, 160, 640),
    "shufflenet_v2_x1_0": (56, 116, 232, 512),
}
HEAD = {"channels": 64, "low_channels": 16, "dilations": (2, 4, 6)}  # 256, 48, (6, 12, 18)
AUXILIARY_CHANNELS = 64  # 512
MASK2FORMER = {
    "channels": 64,  # 256
    "mask_channels": 64,  # 256
    "num_queries": 40,  # 100
    "encoder_layers": 2,  # 6
    "decoder_layers": 3,  # 9
    "encoder_ffn": 128,  # 1024
    "decoder_ffn": 128,  # 2048
}
POINTS = 1024  # 12 544


def is_generalization(config: Mapping[str, Any]) -> bool:
    """Whether a resolved config trains a network in stages, as SRHA and its baselines do."""
    return config.get("model", {}).get("backbone", {}).get("type") == "StagedBackbone"


def needs_unseen(config: Mapping[str, Any]) -> bool:
    """Whether a resolved config needs these networks' weights, or has several targets."""
    evaluated = (config.get("val_dataloader") or {}).get("dataset") or {}
    return is_generalization(config) or "targets" in evaluated


def scale_item(item: dict[str, Any]) -> None:
    """Scales one dict of a data config in place."""
    kind = item.get("type")
    if kind == "RandomScaleCrop":
        item["crop_size"] = CROP
    elif kind == "RandomGaussianBlur":
        item["sigma"] = BLUR
    elif kind == "ResizeToScore":
        item |= {"height": MAPILLARY_SIDE} if item.get("height") else {"size": GTA_SIZE}
    elif kind == "CenterCropPad":
        item["size"] = (MAPILLARY_SIDE, MAPILLARY_SIDE)
    if item.get("class_uniform_sampling"):
        item["class_uniform_sampling"] = {**item["class_uniform_sampling"], "tile": TILE}


def scale_training(config: dict[str, Any]) -> None:
    """Scales schedule, optimizer, batch, losses and network in place."""
    iterations = min(config["train_cfg"]["max_iters"] // STEPS, MAX_ITERATIONS)
    interval = -(-iterations // VALIDATIONS)
    config["train_cfg"] |= {"max_iters": iterations, "val_interval": interval}
    for scheduler in config["param_scheduler"]:
        scheduler["end"] = iterations + 1
    optimizer = config["optim_wrapper"]["optimizer"]
    optimizer["lr"] = optimizer["lr"] * RATE_FACTORS[optimizer["type"]]
    loader = config["train_dataloader"]
    loader["batch_size"] = int(loader["batch_size"] * BATCH_SHARE)
    if config["uda"]["type"] == "SRHA":
        _scale_losses(config["uda"], ALIGNMENT_SHARES[config["model"]["backbone"]["arch"]])
    _scale_network(config["model"])


def _scale_losses(uda: dict[str, Any], alignment: float) -> None:
    # Reads torch, which listing tables does without.
    from mmseg_uda.methods.srha.options import SrhaOptions

    def scaled(weights: Sequence[float]) -> tuple[float, ...]:
        return tuple(weight * alignment for weight in weights)

    default = SrhaOptions()
    weights = uda.get("alignment_weights", default.alignment_weights)
    uda["alignment_weights"] = (
        {level: scaled(factors) for level, factors in weights.items()}
        if isinstance(weights, Mapping)
        else scaled(weights)
    )
    consistency = uda.get("consistency_weight", default.consistency_weight)
    uda["consistency_weight"] = consistency * CONSISTENCY_SHARE


def _scale_network(model: dict[str, Any]) -> None:
    backbone, head = model["backbone"], model["decode_head"]
    arch = backbone["arch"]
    width, depth = REDUCED[arch]
    weights = {"type": "BackboneWeights", "checkpoint": WEIGHTS.format(arch=arch)}
    backbone |= {"width": width, "depth": depth, "init_cfg": weights}
    model["data_preprocessor"]["size"] = CROP
    channels = CHANNELS[arch]
    head["in_channels"] = [channels[i] for i in head.get("in_index", range(4))]
    if head["type"] == "DeepLabV3PlusHead":
        head |= deepcopy(HEAD)
    else:
        narrow_mask2former(head)
    auxiliary = model.get("auxiliary_head")
    if auxiliary:
        auxiliary |= {"in_channels": channels[2], "channels": AUXILIARY_CHANNELS}


def narrow_mask2former(head: dict[str, Any]) -> None:
    """Narrows a Mask2Former in place."""
    head |= deepcopy(MASK2FORMER)
    head["loss_decode"]["num_points"] = POINTS
