"""Maps have the layout that was chosen, wherever tokens become maps."""

import copy
from functools import partial

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from nano import nano_config, nano_hrda_config
from torch import nn
from vfm import vfm_uda_network

import mmseg_uda.register_all  # noqa: F401
from mmseg_uda.engine.execution import Execution
from mmseg_uda.models.views import full_logits, training_forward

SIZE = (128, 128)  # the smallest whose deepest map has more than one pixel a side under HRDA
NORM = dict(type="BN", requires_grad=True)
CONTEXT = dict(type="aspp", sep=True, dilations=(1, 2, 3), norm_cfg=NORM)
ATTENTION = dict(type="isa", isa_channels=8, down_factor=(2, 2), norm_cfg=NORM)
ENCODERS = {
    "MiT": dict(type="MiT", variant="b0", embed_dims=16),
    "mmseg's MiT": dict(
        type="MixVisionTransformer",
        embed_dims=16,
        num_heads=[1, 2, 5, 8],
        sr_ratios=[8, 4, 2, 1],
        num_layers=[1, 1, 1, 1],
    ),
}


def daformer(encoder, fusion=CONTEXT, hrda=False):
    cfg = nano_hrda_config(size=SIZE) if hrda else nano_config(size=SIZE)
    cfg["backbone"] = ENCODERS[encoder]
    head = cfg["decode_head"]
    head["in_channels"] = [16, 32, 80, 128]
    head["decoder_params"] = {**head["decoder_params"], "fusion_cfg": fusion}
    if hrda:
        cfg["hr_crop_size"] = (64, 64)
    return cfg


def segformer():
    cfg = daformer("mmseg's MiT")
    cfg["decode_head"].update(type="SegFormerHead", decoder_params=dict(embed_dim=16))
    return cfg


def stock():
    """A segmentor of mmseg's own."""
    cfg = daformer("mmseg's MiT")
    levels = dict(in_channels=[16, 32, 80, 128], in_index=[0, 1, 2, 3])
    head = dict(type="SegformerHead", channels=16, num_classes=5, norm_cfg=NORM, **levels)
    cfg.update(type="EncoderDecoder", decode_head=head)
    return cfg


NETWORKS = {
    "daformer": daformer("MiT"),
    "daformer on mmseg's encoder": daformer("mmseg's MiT"),
    "attention as fusion": daformer("MiT", ATTENTION),
    "hrda": daformer("MiT", hrda=True),
    "segformer": segformer(),
    "mmseg's segformer": stock(),
    "vision transformer": vfm_uda_network(dim=8, depth=1, heads=2),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_convolutions_get_maps_in_the_chosen_layout(network, layout):
    chosen = Execution.read(dict(channels_last=layout is torch.channels_last))
    segmentor = MODELS.build(ConfigDict(network))
    chosen.prepare(segmentor)
    segmentor = copy.deepcopy(segmentor)  # as a teacher is made
    chosen.start(segmentor)
    wrong, seen = [], []

    def look(name, module, inputs):
        x = inputs[0]
        seen.append(name)
        if min(x.shape[1:]) > 1 and not x.is_contiguous(memory_format=layout):
            wrong.append((name, tuple(x.shape), x.stride()))

    ours = type(segmentor.backbone).__name__ == "MiT"  # nobody else's encoder is ours to arrange
    for name, module in segmentor.named_modules():
        judged = name.startswith("decode_head") or (ours and "ffn" in name)
        if isinstance(module, nn.Conv2d) and judged:
            module.register_forward_pre_hook(partial(look, name))
    image = torch.randn(2, 3, *SIZE)
    training_forward(segmentor, image)
    with torch.no_grad():
        full_logits(segmentor, image)
    assert wrong == []
    assert seen
