"""Parameter names of SRHA's checkpoints, whose DeepLabV3+ has parts with names of its own.

The encoder's names (``layer0`` … ``layer4``) are ours (srha.md §2.6). The heads' are those of
RobustNet (BSD-3), from which SRHA descends; the specification does not list them.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mmseg_uda.models.backbones.staged import StagedBackbone

# published prefix → ours
_ENCODER = {f"layer{i}.": f"backbone.layer{i}." for i in range(5)}
_HEADS = {
    "aspp.img_conv.": "decode_head.image_mean.",
    "aspp.features.": "decode_head.branches.",
    "bot_aug.": "decode_head.pyramid.",
    "bot_fine.": "decode_head.low.",
    # two convolutions, norms and ReLUs in one sequence
    "final1.0.": "decode_head.decoder.0.0.",
    "final1.1.": "decode_head.decoder.0.1.",
    "final1.3.": "decode_head.decoder.1.0.",
    "final1.4.": "decode_head.decoder.1.1.",
    "final2.0.": "decode_head.conv_seg.",
    "dsn.0.": "auxiliary_head.conv.0.",
    "dsn.1.": "auxiliary_head.conv.1.",
    "dsn.4.": "auxiliary_head.conv_seg.",
}


def from_srha_names(segmentor: nn.Module, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a published SRHA state dict, without its ``module.`` prefix, to our names.

    Args:
        segmentor: The network that shall load them; without a staged encoder nothing changes.
        state_dict: Weights; other names than the published ones are kept.
    """
    if not isinstance(getattr(segmentor, "backbone", None), StagedBackbone):
        return dict(state_dict)
    prefixes = {**_ENCODER, **_HEADS}
    result = {}
    for name, value in state_dict.items():
        prefix = next((p for p in prefixes if name.startswith(p)), None)
        result[name if prefix is None else prefixes[prefix] + name[len(prefix) :]] = value
    return result
