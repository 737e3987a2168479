"""Plain vision transformers as timm builds them."""

from __future__ import annotations

import re
from typing import Any

import torch

from mmseg_uda.cfg_options import nearest
from mmseg_uda.errors import UserError


def build_network(
    arch: str, options: dict[str, Any], patch: int | None = None, grid: int | None = None
) -> Any:
    """timm's network without its classifier.

    Args:
        arch: Its name there.
        options: Of the network.
        patch: Another patch in pixels; the number of positions stays.
        grid: Positions per axis; None leaves them.

    Raises:
        UserError: There is none, or it is no plain vision transformer.
    """
    import timm
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    if not timm.is_model(arch):
        raise UserError(
            f"backbone.arch={arch!r} is no network of timm {timm.__version__}.",
            fix=nearest(arch, timm.list_models()) or "See timm.list_models('vit*').",
        )
    if patch is not None or grid is not None:
        # as many tokens as before, or as many as are asked for
        with torch.device("meta"):
            plain = _create(arch, options)
        patch = patch or plain.patch_embed.patch_size[0]
        side = grid or plain.patch_embed.grid_size[0]
        options = {**options, "patch_size": patch, "img_size": side * patch}
    network = _create(arch, options)
    mixed = getattr(network, "rope_mixed", False)  # other positions in every block
    if mixed or not isinstance(network, (VisionTransformer, Eva)):
        raise _no_plain_vit(arch)
    if options.get("patch_drop_rate"):
        raise UserError(
            f"backbone.arch_options.patch_drop_rate={options['patch_drop_rate']} has no effect: "
            "maps need every patch.",
            fix="Leave it out, or mask tokens: uda.masking.unit='tokens'.",
        )
    return network


def _create(arch: str, options: dict[str, Any]) -> Any:
    import timm

    try:
        return timm.create_model(arch, num_classes=0, dynamic_img_size=True, **options)
    except TypeError as error:
        found = re.search(r"argument '(\w+)'", str(error))
        if found is None or found[1] == "dynamic_img_size":
            raise _no_plain_vit(arch) from error
        raise UserError(
            f"backbone.arch_options.{found[1]} is no option of {arch}.",
            fix="Use those of timm's network, e.g. embed_dim, depth, num_heads, img_size.",
        ) from error


def _no_plain_vit(arch: str) -> UserError:
    return UserError(
        f"backbone.arch={arch!r} is no plain vision transformer.",
        fix="Use one of DINOv2, DINOv3, EVA-02, DeiT-III or CLIP in timm.",
    )
