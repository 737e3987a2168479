"""Small plain vision transformers, and the golden network of VFM-UDA."""

import numpy as np
import torch
from mmseg.registry import MODELS
from pinned_weights import GOLDEN

import mmseg_uda.datasets
import mmseg_uda.models  # noqa: F401
from mmseg_uda.models.weights import load_segmentor_weights

VFM = GOLDEN / "vfm"
TINY = dict(embed_dim=8, depth=2, num_heads=2)
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def golden(name):
    return np.load(VFM / f"{name}.npz")


def tensors(file, prefix):
    """The arrays of a file whose name begins with ``prefix``, as tensors, without it."""
    return {
        name.removeprefix(prefix): torch.from_numpy(file[name])
        for name in file.files
        if name.startswith(prefix)
    }


def vit(arch="vit_small_patch14_dinov2", img_size=42, **options):
    """Config of an encoder with two blocks of eight channels."""
    size = {} if "dinov3" in arch else {"img_size": img_size}
    arch_options = {**TINY, **size, **options.pop("arch_options", {})}
    return dict(type="TimmViT", arch=arch, arch_options=arch_options, **options)


def vfm_uda_network(dim=32, depth=3, heads=4, classes=19, **backbone):
    """Config of VFM-UDA's network, small."""
    return dict(
        type="SlideEncoderDecoder",
        data_preprocessor=dict(
            type="DomainDataPreProcessor", mean=MEAN, std=STD, bgr_to_rgb=True, size=(64, 64)
        ),
        backbone=vit(
            arch_options=dict(embed_dim=dim, depth=depth, num_heads=heads),
            **{"input_scale": 1.1, **backbone},
        ),
        decode_head=dict(
            type="LightHead", in_channels=dim, num_classes=classes, align_corners=False
        ),
        train_cfg=dict(),
        test_cfg=dict(mode="whole"),
    )


def golden_network():
    """The golden network under VFM-UDA's names, loaded as one of its checkpoints."""
    model = MODELS.build(vfm_uda_network())
    weights = tensors(golden("network"), "w/")
    state = {f"network.{name}": value for name, value in weights.items()}
    load_segmentor_weights(model, {"state_dict": state}, source="golden")
    return model


def published_name(name):
    """VFM-UDA's name of one of our parameters."""
    return (
        name.replace("backbone.", "encoder.")
        .replace("decode_head.conv_seg", "out")
        .replace("decode_head.", "")
    )
