"""Parameter names of SRHA's checkpoints, and of RobustNet's (BSD-3), from which it descends.

Stages are called ``layer0`` … ``layer4`` as here, with torchvision's names inside. DeepLabV3+'s
parts are ``aspp``, ``bot_aspp``, ``bot_fine``, ``final1``, ``final2`` and ``dsn``; Mask2Former's
are those of its published code (MIT). Only names of parameters are known here, no code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from mmseg_uda.errors import UserError
from mmseg_uda.models.backbones.staged import InstanceStandardize, StagedBackbone

# published prefix → ours
_DEEPLAB = {
    "aspp.img_conv.": "decode_head.image_mean.",
    "aspp.features.": "decode_head.branches.",
    "bot_aspp.": "decode_head.pyramid.",
    "bot_fine.": "decode_head.low.",
    # two convolutions, norms and ReLUs in one sequence
    "final1.0.": "decode_head.decoder.0.0.",
    "final1.1.": "decode_head.decoder.0.1.",
    "final1.3.": "decode_head.decoder.1.0.",
    "final1.4.": "decode_head.decoder.1.1.",
    "final2.0.": "decode_head.conv_seg.",
    "final2.": "decode_head.conv_seg.",
    "dsn.0.": "auxiliary_head.conv.0.",
    "dsn.1.": "auxiliary_head.conv.1.",
    "dsn.4.": "auxiliary_head.conv_seg.",
    "dsn.3.": "auxiliary_head.conv_seg.",  # without the dropout between
}
# Mask2Former's head: published pattern → ours; the head itself has a name of its own in each code
_HEAD = r"(?:[\w.]+\.)?"
_PIXELS, _QUERIES = "decode_head.pixel_decoder", "decode_head.transformer"
_MASK2FORMER = tuple(
    (re.compile(_HEAD + pattern), ours)
    for pattern, ours in (
        (r"pixel_decoder\.input_proj\.(.+)", rf"{_PIXELS}.input_projections.\1"),
        (r"pixel_decoder\.transformer\.level_embed", rf"{_PIXELS}.level_embed"),
        (
            r"pixel_decoder\.transformer\.encoder\.layers\.(\d+)\.(.+)",
            rf"{_PIXELS}.encoder.layers.\1.\2",
        ),
        (r"pixel_decoder\.mask_features\.(\w+)", rf"{_PIXELS}.mask_projection.\1"),
        (r"pixel_decoder\.((?:adapter|layer)_\d+)\.weight", rf"{_PIXELS}.\1.0.weight"),
        (r"pixel_decoder\.((?:adapter|layer)_\d+)\.norm\.(\w+)", rf"{_PIXELS}.\1.1.\2"),
        (
            r"predictor\.transformer_self_attention_layers\.(\d+)\.norm\.(\w+)",
            rf"{_QUERIES}.decoder.layers.\1.self_attn_layer_norm.\2",
        ),
        (
            r"predictor\.transformer_self_attention_layers\.(\d+)\.(self_attn\..+)",
            rf"{_QUERIES}.decoder.layers.\1.\2",
        ),
        (
            r"predictor\.transformer_cross_attention_layers\.(\d+)\.norm\.(\w+)",
            rf"{_QUERIES}.decoder.layers.\1.cross_attn_layer_norm.\2",
        ),
        (
            r"predictor\.transformer_cross_attention_layers\.(\d+)\.multihead_attn\.(.+)",
            rf"{_QUERIES}.decoder.layers.\1.cross_attn.\2",
        ),
        (
            r"predictor\.transformer_ffn_layers\.(\d+)\.norm\.(\w+)",
            rf"{_QUERIES}.decoder.layers.\1.final_layer_norm.\2",
        ),
        (
            r"predictor\.transformer_ffn_layers\.(\d+)\.(linear\d\..+)",
            rf"{_QUERIES}.decoder.layers.\1.\2",
        ),
        (r"predictor\.decoder_norm\.(\w+)", rf"{_QUERIES}.decoder.layernorm.\1"),
        (
            r"predictor\.mask_embed\.layers\.(\d)\.(\w+)",
            rf"{_QUERIES}.decoder.mask_predictor.mask_embedder.\1.0.\2",
        ),
        (r"predictor\.class_embed\.(\w+)", r"decode_head.class_predictor.\1"),
        # the older of two names of the queries' content
        (
            r"predictor\.(?:query_feat|static_query)\.weight",
            rf"{_QUERIES}.queries_features.weight",
        ),
        (r"predictor\.query_embed\.weight", rf"{_QUERIES}.queries_embedder.weight"),
        (r"predictor\.level_embed\.weight", rf"{_QUERIES}.level_embed.weight"),
    )
)
_LAYERS = {  # inside a transformer layer
    ".norm1.": ".self_attn_layer_norm.",
    ".norm2.": ".final_layer_norm.",
    ".linear1.": ".fc1.",
    ".linear2.": ".fc2.",
}
_JOINT = re.compile(r"(.+\.self_attn)\.in_proj_(weight|bias)")
# of the loss, a constant of the config
_NO_WEIGHTS = ("criterion.",)
_BLOCK = re.compile(r"^(layer[1-4])\.(\d+)\.")
_INSTANCE_NORM = "instance_norm_layer."
# Three 3×3 convolutions in place of one of 7×7.
_DEEP_STEM = "layer0.6.weight"
_LOADABLE = (
    "SRHA's networks load, and of RobustNet's those with a 7x7 stem and without instance "
    "normalisation."
)


def from_srha_names(
    segmentor: nn.Module, state_dict: Mapping[str, Tensor], source: str = "the checkpoint"
) -> dict[str, Tensor]:
    """Renames a published SRHA state dict, without its ``module.`` prefix, to our names.

    Args:
        segmentor: The network that shall load them; without a staged encoder nothing changes.
        state_dict: Weights; names that are ours already, or of no known layout, are kept.
        source: Where they came from, for messages.

    Raises:
        UserError: The weights belong to a network with instance normalisation in its stages.
    """
    backbone = getattr(segmentor, "backbone", None)
    if not isinstance(backbone, StagedBackbone):
        return dict(state_dict)
    own = segmentor.state_dict().keys()
    if _DEEP_STEM in state_dict:
        raise UserError(
            f"{source} belongs to a network with three convolutions in its stem (RobustNet's "
            "ResNet-101), which is not offered.",
            fix=_LOADABLE,
        )
    state_dict = _counted_from_zero(state_dict)
    encoder = _encoder_names(backbone, state_dict)
    result: dict[str, Tensor] = {}
    for name, value in state_dict.items():
        if _INSTANCE_NORM in name:
            raise UserError(
                f"{source} belongs to a network that normalises instances in its stages (IBN-Net "
                f"or switchable whitening, {name}), which this one does not.",
                fix=_LOADABLE,
            )
        if name in own:
            result[name] = value
        elif not name.startswith(_NO_WEIGHTS):
            result |= dict(_parts(encoder.get(name) or _head_name(name), value))
    return result


def check_srha_command(segmentor: nn.Module, checkpoint: Mapping[str, Any], source: str) -> None:
    """Compares a network with the command line that SRHA's and RobustNet's checkpoints carry.

    It tells what no parameter shows: normalisation without weights, and dilations.

    Args:
        segmentor: The network; nothing is checked without a staged encoder.
        checkpoint: Content of the file.
        source: Its name, for messages.

    Raises:
        UserError: The file belongs to a network that computes something else.
    """
    backbone, command = getattr(segmentor, "backbone", None), checkpoint.get("command")
    if not isinstance(backbone, StagedBackbone) or not isinstance(command, str):
        return
    whitening = re.search(r"--wt_layer((?:\s+\d+)+)", command)
    if whitening and any(int(kind) for kind in whitening[1].split()):
        raise UserError(
            f"{source} was trained with --wt_layer{whitening[1]}: its network whitens or "
            "normalises instances in its stages, which this one does not.",
            fix=_LOADABLE,
        )
    standardized = "--style_elimination" in command
    does = isinstance(backbone.standardize, InstanceStandardize)
    if (standardized or whitening) and standardized != does:
        has = "standardises" if standardized else "does not standardise"
        raise UserError(
            f"{source} belongs to a network that {has} the stem's output, unlike this one.",
            fix=f"Set model.backbone.standardize={standardized}",
        )
    stride = re.search(r"--arch\s+\S+_OS(\d+)", command)
    if stride and int(stride[1]) != backbone.feature_strides[-1]:
        rates = tuple(rate * 16 // int(stride[1]) for rate in (6, 12, 18))
        raise UserError(
            f"{source} was trained at output stride {stride[1]}, this network has "
            f"{backbone.feature_strides[-1]}.",
            fix=f"Set model.backbone.output_stride={stride[1]} and "
            f"model.decode_head.dilations={rates}",
        )


def _counted_from_zero(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renumbers the blocks of stages that are slices of torchvision's ``features``."""
    numbers: dict[str, set[int]] = {}
    for name in state_dict:
        match = _BLOCK.match(name)
        if match:
            numbers.setdefault(match[1], set()).add(int(match[2]))
    first = {stage: min(found) for stage, found in numbers.items()}
    return {
        _BLOCK.sub(lambda m: f"{m[1]}.{int(m[2]) - first[m[1]]}.", name): value
        for name, value in state_dict.items()
    }


def _encoder_names(backbone: StagedBackbone, names: Iterable[str]) -> dict[str, str]:
    """Our names of the encoder's parameters among ``names``, no name twice."""
    known, result, taken = backbone.state_dict().keys(), {}, set()
    for name in names:
        stage, _, inner = name.partition(".")
        tried = [name]
        if re.fullmatch(r"layer\d", stage):
            # RobustNet wraps ShuffleNet's first and last part; torchvision names a stem's layers
            inners = (
                inner.removeprefix("layer."),
                backbone.from_torchvision_name(inner).removeprefix(f"{stage}."),
                f"0.{inner}",
                inner.removeprefix("0."),
            )
            tried += [f"{stage}.{one}" for one in inners]
        tried.append(backbone.from_torchvision_name(name))
        ours = next((one for one in tried if one in known), None)
        if ours is not None and ours not in taken:
            taken.add(ours)
            result[name] = f"backbone.{ours}"
    return result


def _head_name(name: str) -> str:
    for prefix, ours in _DEEPLAB.items():
        if name.startswith(prefix):
            return ours + name[len(prefix) :]
    for pattern, ours in _MASK2FORMER:
        match = pattern.fullmatch(name)
        if match:
            name = match.expand(ours)
            for theirs, inner in _LAYERS.items():
                name = name.replace(theirs, inner)
            return name
    return name


def _parts(name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A joint projection of query, key and value is three here, if it is a self-attention's."""
    joint = _JOINT.fullmatch(name)
    if joint is None:
        yield name, value
        return
    for letter, part in zip("qkv", value.chunk(3), strict=True):
        yield f"{joint[1]}.{letter}_proj.{joint[2]}", part
