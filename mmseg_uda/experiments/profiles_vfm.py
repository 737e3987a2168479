"""The miniworld profile of plain vision transformers: one tiny network for all of them.

Like ``profiles``: everything that is changed stands in the constants. The number of patches is
what an input of 1.1 times the crop gives, as published. Nothing can be concluded from this profile
about the foundation models, whose weights it does not have: its network has seen the web-like
domain, as the miniature encoder of the other tables has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from mmseg_uda.experiments import profiles_srha

# --- What is scaled ---

WEIGHTS = "miniworld/tiny_vit"
# The same in miniworld/vit_weights.py, which makes the weights.
ARCH = "vit_small_patch14_dinov2"
SIZE: dict[str, Any] = {
    "embed_dim": 48,
    "depth": 4,
    "num_heads": 3,
    "img_size": 140,
    "init_values": 1.0,
}
MOMENTUM = 2e-4  # of averages of weights whose config leaves it to the default
LEARNING_RATE = 3e-3  # of the whole network; published: 1.4e-4, the encoder a tenth
SHORT_SIDE = 128  # 1440 or 1024
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]  # its colours
# Of Mask2Former on four blocks, whose crops of 512 pixels have 32² patches: 8² of crops of 64.
INPUT_SCALE = 2.0  # 1


def is_plain_vit(config: Mapping[str, Any]) -> bool:
    """Whether a resolved config trains a plain vision transformer."""
    return config.get("model", {}).get("backbone", {}).get("type") == "TimmViT"


def scale_item(item: dict[str, Any]) -> None:
    """Scales one dict of a data config in place."""
    side = item.get("short_side")
    if isinstance(side, int):
        item["short_side"] = SHORT_SIDE
    elif side:
        item["short_side"] = [round(one * SHORT_SIDE / 1024) for one in side]


def scale_schedule(scheduler: dict[str, Any], warm_up: int, iterations: int) -> dict[str, Any]:
    """Returns VFM-UDA's curve over fewer steps."""
    return {**scheduler, "warmup": warm_up, "total": iterations}


def scale_optimizer(wrapper: dict[str, Any]) -> None:
    """One rate for the whole network, as the other tables have it; layer decay stays."""
    wrapper["optimizer"]["lr"] = LEARNING_RATE
    if wrapper["paramwise_cfg"].get("layer_decay"):
        wrapper["paramwise_cfg"]["layer_decay"]["multiplier"] = 1.0


def scale_average(average: dict[str, Any], share: float) -> None:
    """Lets the average of the weights begin, and reach back, as early in a shorter training."""
    average["begin"] = round(average.get("begin", 0) * share)
    average["momentum"] = min(1.0, average.get("momentum", MOMENTUM) / share)


def scale_distillation(distillation: dict[str, Any]) -> None:
    """The tiny network in place of the foundation model."""
    teacher = {"type": "TimmViT", **tiny_encoder()}
    distillation |= {"teacher": teacher, "teacher_size": SIZE["img_size"]}
    if distillation.get("in_channels"):
        distillation["in_channels"] = SIZE["embed_dim"]


def tiny_encoder() -> dict[str, Any]:
    """What an encoder's config says of the tiny network and its weights."""
    weights = {"type": "BackboneWeights", "checkpoint": WEIGHTS}
    return {"arch": ARCH, "arch_options": deepcopy(SIZE), "init_cfg": weights}


def scale_network(model: dict[str, Any], scaled: Callable[[Any], Any]) -> None:
    """Takes the tiny encoder and narrows the decoder, in place.

    Args:
        model: Config of a segmentor.
        scaled: Pixels of the paper's images, a number or several, to pixels of the profile's.
    """
    backbone, head, width = model["backbone"], model["decode_head"], SIZE["embed_dim"]
    backbone |= tiny_encoder()
    size = scaled(model["data_preprocessor"]["size"])
    model["data_preprocessor"] |= {"size": size, "mean": MEAN, "std": STD}
    if backbone.get("fixed_grid"):
        grid = int(size[0] * INPUT_SCALE) // backbone["patch_size"]
        blocks = tuple(range(SIZE["depth"]))
        backbone |= {"input_scale": INPUT_SCALE, "fixed_grid": grid, "out_indices": blocks}
    if head["type"] == "TorchMask2FormerHead":
        profiles_srha.narrow_mask2former(head)
        if (backbone.get("adapter") or {}).get("type") == "rein":
            backbone["adapter"]["tokens"] = head["num_queries"]
    if model.get("neck"):
        model["neck"]["in_channels"] = width
    many = not isinstance(head["in_channels"], int)
    head["in_channels"] = [width] * len(head["in_channels"]) if many else width
    if model["test_cfg"]["mode"] == "slide":
        test = model["test_cfg"]
        test |= {key: scaled(test[key]) for key in ("crop_size", "stride")}
