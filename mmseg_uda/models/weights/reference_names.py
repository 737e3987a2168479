"""Parameter names of published checkpoints, in both directions.

Our decoders and ResNets use the published names as they are. Mix Transformers have mmseg's
names here and SegFormer's in checkpoints; one tensor of ours, the joint projection of query, key
and value, is two there (``q`` and ``kv``), and the Mix-FFN's 1×1 convolutions are linear layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from mmseg.models.backbones.mit import MixVisionTransformer
from torch import Tensor, nn

# ours ↔ published, inside one block; the last column tells the shape of the published weight
_BLOCK_NAMES = (
    ("attn.attn.out_proj", "attn.proj"),
    ("ffn.layers.0", "mlp.fc1"),
    ("ffn.layers.1", "mlp.dwconv.dwconv"),
    ("ffn.layers.4", "mlp.fc2"),
)
_LINEAR_AS_CONV = ("mlp.fc1.weight", "mlp.fc2.weight")
_OURS = re.compile(r"layers\.(\d)\.(?:0\.(\w+)|1\.(\d+)\.(.+)|2)\.(\w+)")
_OURS_JOINT = re.compile(r"layers\.(\d)\.1\.(\d+)\.attn\.attn\.in_proj_(weight|bias)")
_PUBLISHED_BLOCK = re.compile(r"block(\d)\.(\d+)\.(.+)\.(weight|bias)")
_PUBLISHED_SPLIT = re.compile(r"block(\d)\.(\d+)\.attn\.(q|kv)\.(weight|bias)")
_PUBLISHED_EMBED = re.compile(r"patch_embed(\d)\.(proj|norm)\.(weight|bias)")
_PUBLISHED_NORM = re.compile(r"norm(\d)\.(weight|bias)")


def _rename_ours(name: str) -> str:
    """Published name of one of our Mix Transformer parameters; the joint one becomes ``qkv``."""
    joint = _OURS_JOINT.fullmatch(name)
    if joint:
        stage, block, kind = joint.groups()
        return f"block{int(stage) + 1}.{block}.attn.qkv.{kind}"
    match = _OURS.fullmatch(name)
    if match is None:
        return name
    stage, embed, block, inner, kind = match.groups()
    number = int(stage) + 1
    if embed is not None:
        return f"patch_embed{number}.{'proj' if embed == 'projection' else embed}.{kind}"
    if block is None:
        return f"norm{number}.{kind}"
    inner = dict(_BLOCK_NAMES).get(inner, inner)
    return f"block{number}.{block}.{inner}.{kind}"


def _rename_published(name: str) -> str:
    """Our name of a published Mix Transformer parameter that is not split."""
    match = _PUBLISHED_EMBED.fullmatch(name)
    if match:
        stage, layer, kind = match.groups()
        layer = "projection" if layer == "proj" else layer
        return f"layers.{int(stage) - 1}.0.{layer}.{kind}"
    match = _PUBLISHED_NORM.fullmatch(name)
    if match:
        return f"layers.{int(match[1]) - 1}.2.{match[2]}"
    match = _PUBLISHED_BLOCK.fullmatch(name)
    if match is None:
        return name
    stage, block, inner, kind = match.groups()
    inner = {theirs: ours for ours, theirs in _BLOCK_NAMES}.get(inner, inner)
    return f"layers.{int(stage) - 1}.1.{block}.{inner}.{kind}"


def _prefixes(module: nn.Module) -> list[str]:
    """Name prefixes of the Mix Transformers inside ``module``."""
    return [
        f"{name}." if name else ""
        for name, child in module.named_modules()
        if isinstance(child, MixVisionTransformer)
    ]


def _split_prefix(name: str, prefixes: list[str]) -> tuple[str, str] | None:
    for prefix in prefixes:
        if name.startswith(prefix):
            return prefix, name[len(prefix) :]
    return None


def reference_parameter_names(segmentor: nn.Module) -> dict[str, str]:
    """Maps each of our parameter and buffer names to its published name.

    The joint query-key-value projection, which is split in published checkpoints, is named
    ``….attn.qkv.weight``. Learning-rate and weight-decay groups are chosen by these names.

    Args:
        segmentor: A segmentor, or a backbone alone.
    """
    prefixes = _prefixes(segmentor)
    names = {}
    for name in [*dict(segmentor.named_parameters()), *dict(segmentor.named_buffers())]:
        found = _split_prefix(name, prefixes)
        names[name] = name if found is None else found[0] + _rename_ours(found[1])
    return names


def to_reference_names(segmentor: nn.Module, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Writes our weights with published names and shapes.

    Args:
        segmentor: The network the weights belong to, or its backbone alone.
        state_dict: Its weights; names that belong to no Mix Transformer are kept.
    """
    prefixes = _prefixes(segmentor)
    result: dict[str, Tensor] = {}
    for name, value in state_dict.items():
        found = _split_prefix(name, prefixes)
        if found is None:
            result[name] = value
            continue
        prefix, inner = found
        published = _rename_ours(inner)
        if _OURS_JOINT.fullmatch(inner):
            width = value.shape[0] // 3
            result[prefix + published.replace(".qkv.", ".q.")] = value[:width]
            result[prefix + published.replace(".qkv.", ".kv.")] = value[width:]
        elif published.endswith(_LINEAR_AS_CONV):
            result[prefix + published] = value.flatten(1)
        else:
            result[prefix + published] = value
    return result


def from_reference_names(
    segmentor: nn.Module, state_dict: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Reads published weights into our names and shapes.

    Args:
        segmentor: The network that shall load them, or its backbone alone.
        state_dict: Published weights; names that are ours already pass through, so mmseg's
            converted encoders are read, too.
    """
    prefixes = _prefixes(segmentor)
    result: dict[str, Tensor] = {}
    halves: dict[str, dict[str, Tensor]] = {}
    for name, value in state_dict.items():
        found = _split_prefix(name, prefixes)
        if found is None:
            result[name] = value
            continue
        prefix, inner = found
        split = _PUBLISHED_SPLIT.fullmatch(inner)
        if split:
            stage, block, part, kind = split.groups()
            ours = f"{prefix}layers.{int(stage) - 1}.1.{block}.attn.attn.in_proj_{kind}"
            halves.setdefault(ours, {})[part] = value
        elif inner.endswith(_LINEAR_AS_CONV) and value.dim() == 2:
            result[prefix + _rename_published(inner)] = value[:, :, None, None]
        else:
            result[prefix + _rename_published(inner)] = value
    for ours, parts in halves.items():
        if len(parts) == 2:  # a lone half is reported as a missing key by the loader
            result[ours] = torch.cat([parts["q"], parts["kv"]])
    return result
