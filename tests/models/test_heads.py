import copy

import pytest
import torch
from mmseg.models.decode_heads.isa_head import SelfAttentionBlock
from mmseg.registry import MODELS
from small import CHANNELS, daformer_head, dlv2_head

from mmseg_uda.errors import UserError
from mmseg_uda.models.heads.layers import RELU, GroupAttention, InterlacedAttention
from mmseg_uda.models.heads.levels import EmbeddedLevels, embed_levels

BN = dict(type="BN")
CONTEXT = dict(dilations=(1, 2, 3), norm_cfg=BN, act_cfg=dict(type="ReLU"))
FUSIONS = {
    "conv": dict(type="conv", kernel_size=1, norm_cfg=BN),
    "sep_conv": dict(type="sep_conv", kernel_size=3, norm_cfg=BN),
    "mlp": dict(type="mlp"),
    "aspp": dict(type="aspp", **CONTEXT),
    "separable aspp": dict(type="aspp", sep=True, **CONTEXT),
    "aspp with image pool": dict(type="aspp", pool=True, **CONTEXT),
    "isa": dict(type="isa", isa_channels=8, key_query_num_convs=1, norm_cfg=BN),
}


def features(batch=2):
    return [torch.randn(batch, c, 32 >> i, 48 >> i) for i, c in enumerate(CHANNELS)]


@pytest.mark.parametrize("fusion", FUSIONS.values(), ids=FUSIONS)
def test_every_fusion_decodes_at_a_quarter_and_trains_all_parameters(fusion):
    head = MODELS.build(daformer_head(fusion))
    logits = head(features())
    assert logits.shape == (2, 5, 32, 48)
    logits.square().sum().backward()
    assert [name for name, p in head.named_parameters() if p.grad is None] == []


def test_context_on_the_last_level_alone():
    cfg = daformer_head()
    cfg["decoder_params"]["embed_neck_cfg"] = dict(type="rawconv_and_aspp", sep=True, **CONTEXT)
    neck = MODELS.build(dict(type="LevelUpsample", scales=[8]))
    levels = neck(features())
    assert levels[3].shape[2:] == levels[0].shape[2:]
    assert MODELS.build(cfg)(levels).shape == (2, 5, 32, 48)


@pytest.mark.parametrize("cfg", [dict(type="attention"), dict(type="conv", kernel=1)])
def test_wrong_fusion_options_name_the_key(cfg):
    with pytest.raises(UserError, match="decoder_params.fusion_cfg"):
        MODELS.build(daformer_head(cfg))


def test_interlaced_attention_groups():
    """Long-range groups share a position in their cell; short-range groups are the cells."""
    layer = InterlacedAttention(2, 2, 2, down_factor=(2, 3), key_query_num_convs=1).eval()
    seen = []
    for relation in (layer.global_relation, layer.local_relation):
        relation.forward = lambda x: seen.append(x[:, 0]) or x
    layer.in_conv = torch.nn.Identity()
    ids = torch.arange(24.0).view(1, 1, 4, 6).repeat(1, 2, 1, 1)
    assert torch.equal(layer(ids), ids)
    assert seen[0][0].tolist() == [[0, 3], [12, 15]]
    assert seen[1][0].tolist() == [[0, 1, 2], [6, 7, 8]]


@pytest.mark.parametrize("training", [True, False])
def test_attention_of_a_group_equals_mmseg(training):
    original = SelfAttentionBlock(6, 4, conv_cfg=None, norm_cfg=BN, act_cfg=RELU)
    ours = GroupAttention(6, 4, 2, BN, RELU)
    ours.load_state_dict(original.state_dict())
    x = torch.randn(3, 6, 5, 7)
    assert torch.allclose(ours.train(training)(x), original.train(training)(x), atol=1e-5)


def test_interlaced_attention_takes_any_size():
    layer = InterlacedAttention(4, 6, 4, key_query_num_convs=1).eval()
    assert layer(torch.randn(1, 4, 13, 9)).shape == (1, 6, 13, 9)


def test_segformer_keeps_its_unused_classifier_out_of_training():
    head = MODELS.build(
        dict(
            type="SegFormerHead",
            in_channels=CHANNELS,
            num_classes=5,
            decoder_params=dict(embed_dim=12),
        )
    )
    head(features()).sum().backward()
    without = {name for name, p in head.named_parameters() if p.grad is None}
    assert without == {"conv_seg.weight", "conv_seg.bias"}
    assert not head.conv_seg.weight.requires_grad


@pytest.mark.parametrize("level", range(4))
def test_segformer_fuses_the_finest_level_first(level):
    """Channels of the fusion are in the order of the levels."""
    decoder = dict(embed_dim=3)
    cfg = dict(type="SegFormerHead", in_channels=CHANNELS, num_classes=5, decoder_params=decoder)
    head = MODELS.build(cfg).eval()
    fuse = head.linear_fuse.conv.weight
    fuse.data.zero_()
    fuse.data[:, 3 * level : 3 * level + 3] = 1.0
    x = features()
    before = head(x)
    for i in range(4):
        changed = [f + 1 if j == i else f for j, f in enumerate(x)]
        assert torch.equal(head(changed), before) is (i != level)


def test_dlv2_sums_its_classifiers():
    head = MODELS.build(dlv2_head())
    head.init_weights()
    x = features()
    expected = head.aspp_modules[0](x[1]) + head.aspp_modules[1](x[1])
    assert torch.allclose(head(x), expected)
    assert head.aspp_modules[0].conv.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not hasattr(head, "conv_seg")


def test_classifier_starts_small():
    head = MODELS.build(daformer_head())
    head.init_weights()
    assert head.conv_seg.weight.std().item() == pytest.approx(0.01, rel=0.3)
    assert head.conv_seg.bias.abs().max() == 0


POINTWISE = {
    "conv": FUSIONS["conv"],
    "conv with bias": dict(type="conv", kernel_size=1, norm_cfg=None),
    "aspp": FUSIONS["separable aspp"],
}


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("fusion", POINTWISE.values(), ids=POINTWISE)
def test_1x1_convolutions_before_the_upsampling_change_nothing(fusion, align_corners):
    """Values, gradients and running statistics are those of the joined map."""
    cfg = {**daformer_head(fusion), "align_corners": align_corners, "dropout_ratio": 0}
    head = MODELS.build(cfg).double()
    inputs = [x.double().requires_grad_() for x in features()]
    embedded = embed_levels(inputs, head.embed_layers.values(), align_corners)
    plain = copy.deepcopy(head)
    expected = plain.cls_seg(plain.fuse_layer(embedded.joined()))
    with torch.no_grad():
        assert torch.allclose(copy.deepcopy(head)(inputs), expected)
    logits = head(inputs)
    assert torch.allclose(logits, expected)
    for (name, buffer), other in zip(head.named_buffers(), plain.buffers(), strict=True):
        assert torch.allclose(buffer, other), name
    weights = torch.randn_like(expected)
    parameters = [*head.fuse_layer.parameters(), *inputs]
    others = [*plain.fuse_layer.parameters(), *inputs]
    gradients = torch.autograd.grad((logits * weights).sum(), parameters)
    for ours, theirs in zip(
        gradients, torch.autograd.grad((expected * weights).sum(), others), strict=True
    ):
        assert torch.allclose(ours, theirs)


def test_a_1x1_fusion_never_joins_the_levels(monkeypatch):
    head = MODELS.build(daformer_head(FUSIONS["conv"]))
    monkeypatch.setattr(EmbeddedLevels, "joined", None)
    assert head(features()).shape == (2, 5, 32, 48)
