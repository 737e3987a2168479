"""Files of plain vision transformers: the authors', timm's and the transformers library's names.

Everything is brought to the names of :class:`~mmseg_uda.models.backbones.timm_vit.TimmViT`, which
are timm's, and ``mask_token``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mmseg_uda.errors import UserError
from mmseg_uda.models.backbones.positions import fix_positions, resize_kernel
from mmseg_uda.models.backbones.timm_vit import TimmViT

# VFM-UDA's checkpoints: student and teacher, and tensors that are there twice or are no part
STUDENT, TEACHER = "network.", "network_ema."
ENCODER = "encoder."
# of DINOv3: rotary tables that are computed anew, a second norm of its training
_COMPUTED = re.compile(r"rope_embed\..*|.*\.bias_mask|local_cls_norm.*|rope\.periods|lm_head\..*")
_LAYER_SCALE = re.compile(r"(blocks\.\d+)\.ls([12])\.gamma")
_JOINT_BIAS = re.compile(r"(blocks\.\d+\.attn)\.qkv\.bias")
_ONE_BIAS = re.compile(r"blocks\.\d+\.attn\.[qv]_bias")
_HUB_LAYER = re.compile(r"(?:model\.|encoder\.)?layer\.(\d+)\.(.+)\.(weight|bias|lambda1)")
_HUB_PARTS = re.compile(r"(blocks\.\d+\.attn)\.(q|k|v)\.(weight|bias)")  # joined to qkv
_HUB_CLASS = "embeddings.cls_token"
_HUB_NAMES = {
    "embeddings.cls_token": "cls_token",
    "embeddings.mask_token": "mask_token",
    "embeddings.register_tokens": "register_tokens",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "embeddings.patch_embeddings.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
_HUB_INNER = {
    "attention.attention.query": "attn.q",
    "attention.attention.key": "attn.k",
    "attention.attention.value": "attn.v",
    "attention.output.dense": "attn.proj",
    "attention.q_proj": "attn.q",
    "attention.k_proj": "attn.k",
    "attention.v_proj": "attn.v",
    "attention.o_proj": "attn.proj",
    "layer_scale1": "ls1",
    "layer_scale2": "ls2",
    "mlp.up_proj": "mlp.fc1",
    "mlp.down_proj": "mlp.fc2",
}


def vit_weights(backbone: TimmViT, weights: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Brings an encoder's weights into its names and sizes, from any of the layouts.

    Positions and patch kernels are resized where the encoder asks for other sizes than the file's
    (``fixed_grid``, ``patch_size``).

    Args:
        backbone: The encoder to be filled.
        weights: A whole file: of DINOv2 or DINOv3 as released, of timm, of the transformers
            library, or a checkpoint of VFM-UDA.
        source: Its name, for messages.

    Raises:
        UserError: DINOv3 has query or value biases here, and the encoder has none.
    """
    found = dict(weights)
    if any(name.startswith(STUDENT + ENCODER) for name in found):
        found = vfm_uda_network(found, STUDENT)
        found = {n.removeprefix(ENCODER): v for n, v in found.items() if n.startswith(ENCODER)}
    prefix = next((n.removesuffix(_HUB_CLASS) for n in found if n.endswith(_HUB_CLASS)), None)
    if prefix is not None:
        found = _from_hub({name.removeprefix(prefix): value for name, value in found.items()})
    found = {name: value for name, value in found.items() if not _COMPUTED.fullmatch(name)}
    found = _registers(found)
    found = _names_of(backbone, found, source)
    if "mask_token" in found:
        found["mask_token"] = found["mask_token"].reshape(1, -1)
    if "pos_embed" in found and backbone.pos_embed_mode == "fixed":
        side = int((backbone.pos_embed.shape[1] - backbone.embedded_prefix) ** 0.5)
        found["pos_embed"] = fix_positions(found["pos_embed"], backbone.embedded_prefix, side)
    kernel = found.get("patch_embed.proj.weight")
    if kernel is not None and backbone.resizes_patches:
        size, mode = backbone.patch_size, backbone.patch_resize
        found["patch_embed.proj.weight"] = resize_kernel(kernel, size, mode)
    return found


def vfm_uda_network(weights: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """One network of a VFM-UDA checkpoint, without its prefix and without what is there twice."""
    return {
        name.removeprefix(part): value
        for name, value in weights.items()
        if name.startswith(part) and not name.startswith(f"{part}token_masking.")
    }


def from_vfm_uda_names(weights: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """A network of a VFM-UDA checkpoint under a segmentor's names; empty for other files.

    Args:
        weights: A checkpoint's.
        part: ``model`` (its ``network.``) or ``ema_model`` (``network_ema.``).
    """
    network = vfm_uda_network(weights, STUDENT if part == "model" else TEACHER)
    if not any(name.startswith(ENCODER) for name in network):
        return {}
    result = {}
    for name, value in network.items():
        if name.startswith(ENCODER):
            result["backbone." + name.removeprefix(ENCODER)] = value
        else:
            result["decode_head." + name.replace("out.", "conv_seg.", 1)] = value
    return result


def _from_hub(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of the transformers library to the authors'."""
    result: dict[str, Tensor] = {}
    joint: dict[str, dict[str, Tensor]] = {}
    for name, value in weights.items():
        match = _HUB_LAYER.fullmatch(name)
        if match is None:
            result[_HUB_NAMES.get(name, name)] = value
            continue
        block, inner, kind = match.groups()
        kind = "gamma" if kind == "lambda1" else kind
        ours = f"blocks.{block}.{_HUB_INNER.get(inner, inner)}.{kind}"
        part = _HUB_PARTS.fullmatch(ours)
        if part is None:
            result[ours] = value
        else:
            joint.setdefault(f"{part[1]}.qkv.{part[3]}", {})[part[2]] = value
    for name, parts in joint.items():
        if name.endswith("bias") and parts.keys() == {"q", "v"}:  # of DINOv3
            parts["k"] = torch.zeros_like(parts["q"])
        if len(parts) == 3:  # what is left over is reported as missing
            result[name] = torch.cat([parts["q"], parts["k"], parts["v"]])
    return result


def _registers(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Registers as timm has them: the class token holds its own position."""
    result = dict(weights)
    for name in ("register_tokens", "storage_tokens"):
        if name in result:
            result["reg_token"] = result.pop(name)
            if "pos_embed" in result and "cls_token" in result:
                positions = result["pos_embed"]
                result["cls_token"] = result["cls_token"] + positions[:, :1]
                result["pos_embed"] = positions[:, 1:]
    return result


def _names_of(backbone: TimmViT, weights: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """What networks of timm's EVA family call otherwise."""
    expected = backbone.state_dict()
    result = {}
    for name, value in weights.items():
        scale, bias = _LAYER_SCALE.fullmatch(name), _JOINT_BIAS.fullmatch(name)
        if scale and f"{scale[1]}.gamma_1" in expected:
            result[f"{scale[1]}.gamma_{scale[2]}"] = value
        elif bias and name not in expected:
            query, _, values = value.chunk(3)
            result[f"{bias[1]}.q_bias"], result[f"{bias[1]}.v_bias"] = query, values
        elif name.startswith("norm.") and name not in expected:
            result[f"fc_{name}"] = value  # of the pre-trained variant, which does not pool
        else:
            result[name] = value
    surplus = [n for n in result if _ONE_BIAS.fullmatch(n) and n not in expected]
    if any(bool(result[name].any()) for name in surplus):
        raise UserError(
            f"{source} has biases of queries and values, and {backbone.arch} has none: they would "
            "be lost.",
            fix=f"Set model.backbone.arch='{backbone.arch}_qkvb'.",
        )
    return {name: value for name, value in result.items() if name not in surplus}
