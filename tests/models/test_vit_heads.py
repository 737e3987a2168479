"""Decoders of plain transformers, and pyramids that bring other decoders to them."""

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from small import daformer_head
from vfm import golden, tensors, vfm_uda_network, vit

from mmseg_uda.errors import UserError
from mmseg_uda.models.necks import SimplePyramid
from mmseg_uda.models.views import full_logits


def test_light_head_at_full_size():
    head = MODELS.build(dict(type="LightHead", in_channels=768, num_classes=19))
    assert sum(p.numel() for p in head.parameters()) == 1_811_520
    assert head.conv_seg.bias is None and head.dropout is None
    head.init_weights()
    assert head.conv_seg.weight.std().item() == pytest.approx(0.1, rel=0.05)
    with torch.device("meta"):
        head = MODELS.build(dict(type="LightHead", in_channels=768, num_classes=19))
        assert head((torch.empty(1, 768, 80, 80),)).shape == (1, 19, 320, 320)


def test_linear_head():
    head = MODELS.build(dict(type="LinearHead", in_channels=[8, 8], num_classes=5))
    maps = (torch.randn(2, 8, 6, 6), torch.randn(2, 8, 3, 3))
    assert head(maps).shape == (2, 5, 6, 6)
    assert head.dropout.p == 0.1 and isinstance(head.norm, torch.nn.BatchNorm2d)
    head = MODELS.build(dict(type="LinearHead", in_channels=8, num_classes=5, batch_norm=False))
    assert [name for name, _ in head.named_parameters()] == ["conv_seg.weight", "conv_seg.bias"]
    head.init_weights()
    assert not head.conv_seg.bias.any()


def test_pyramid_head_is_the_published_one():
    data = golden("plusplus")
    head = MODELS.build(dict(type="PyramidHead", in_channels=[16] * 4, num_classes=5)).train()
    weights = tensors(data, "pyramid/w/")
    missing = head.load_state_dict(weights, strict=False)
    assert missing.unexpected_keys == []
    assert [n for n in missing.missing_keys if ".running_" not in n] == ["conv_seg.weight"]
    maps = [torch.from_numpy(data[f"pyramid/f{i}"]) for i in (1, 2, 3, 4)]
    out = head.decode(maps).detach().numpy()
    assert np.abs(out - data["pyramid/out"]).max() < 2e-5
    assert head(maps).shape == (2, 5, 16, 16)
    assert head.norm1.momentum == 0.01
    layer = MODELS.build(dict(type="PyramidHead", in_channels=[16] * 4, num_classes=5, norm="LN"))
    assert not list(layer.buffers())


@torch.no_grad()
@pytest.mark.parametrize("style", ["vitdet", "eomt"])
@pytest.mark.parametrize("size", [(5, 7), (4, 4)])
def test_a_pyramid_of_any_grid(style, size):
    levels = SimplePyramid(8, style=style)([torch.randn(1, 8, *size)])
    height, width = size
    expected = [(4 * height, 4 * width), (2 * height, 2 * width), size]
    expected.append((-(-height // 2), -(-width // 2)))
    assert [tuple(x.shape) for x in levels] == [(1, 8, *one) for one in expected]


def test_a_pyramid_of_four_blocks():
    maps = [torch.randn(1, 8, 4, 4) for _ in range(4)]
    levels = SimplePyramid(8, style="resize")(maps)
    assert [x.shape[-1] for x in levels] == [16, 8, 4, 2]
    assert levels[2] is maps[2]
    with pytest.raises(UserError, match="takes 4 maps"):
        SimplePyramid(8, style="resize")(maps[:1])


UPER = dict(
    type="UPerHead", in_channels=[8] * 4, in_index=[0, 1, 2, 3], pool_scales=(1, 2), channels=8,
    num_classes=5, norm_cfg=dict(type="BN"),
)  # fmt: skip
SEGFORMER = dict(
    type="SegFormerHead", in_channels=[8] * 4, num_classes=5, decoder_params=dict(embed_dim=8)
)
MASKS = dict(
    type="TorchMask2FormerHead", in_channels=[8] * 4, feature_strides=(3.5, 7, 14, 28), channels=32,
    mask_channels=8, num_queries=5, encoder_layers=1, decoder_layers=1, num_heads=2, encoder_ffn=8,
    decoder_ffn=8, num_classes=5, align_corners=False,
)  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize(
    "head",
    [
        {**daformer_head(), "in_channels": [8] * 4},
        SEGFORMER,
        UPER,
        dict(type="PyramidHead", in_channels=[8] * 4, num_classes=5, norm="LN"),
        MASKS,
    ],
    ids=lambda head: head["type"],
)
def test_decoders_of_four_maps(head):
    network = vfm_uda_network(8, 2, 2)
    network |= dict(neck=dict(type="SimplePyramid", in_channels=8), decode_head=head)
    network["backbone"] = vit(input_scale=1.1)
    model = MODELS.build(ConfigDict(network)).eval()
    assert full_logits(model, torch.randn(1, 3, 64, 96)).shape == (1, 5, 64, 96)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (dict(type="SimplePyramid", in_channels=8, style="fpn"), "style='fpn'"),
        (dict(type="SimplePyramid", in_channels=8, out_channels=4, style="eomt"), "out_channels=4"),
        (dict(type="LightHead", in_channels=8, num_classes=5, dropout_ratio=0.1), "dropout_ratio"),
        (dict(type="PyramidHead", in_channels=[8] * 3, num_classes=5), "four maps"),
        (dict(type="PyramidHead", in_channels=[8] * 4, num_classes=5, norm="GN"), "norm='GN'"),
    ],
)
def test_refused(config, told):
    with pytest.raises(UserError) as error:
        MODELS.build(config)
    assert told in str(error.value)
