import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from small import MODEL_CONFIGS, published

# parameters of encoder and decoder for 19 classes
COUNTS = {
    "daformer_conv1_mitb5": (81_443_008, 530_707),
    "daformer_sepaspp_mitb5": (81_443_008, 3_712_275),
    "daformer_aspp_mitb5": (81_443_008, 9_969_939),
    "daformer_isa_mitb5": (81_443_008, 1_058_579),
    "daformer_sepaspp_bottleneck_mitb5": (81_443_008, 3_163_155),
    "segformer_mitb3": (44_072_128, 3_164_947),
    "segformer_mitb4": (60_842_688, 3_164_947),
    "segformer_mitb5": (81_443_008, 3_164_947),
    "segformer_r101v1c": (42_519_392, 5_327_635),
    "upernet_mitb5": (81_443_008, 29_644_307),  # published as 29.6 M
    "upernet_ch256_mitb5": (81_443_008, 8_334_099),  # 8.3 M
    "dlv2red_r101v1c": (42_519_392, 700_454),
    # published with a classifier of 2.05 M: 27.5 M, 48.3 M, 70.2 M
    "dlv2red_s50": (25_434_240, 700_454),
    "dlv2red_s101": (46_226_016, 700_454),
    "dlv2red_s200": (68_152_544, 700_454),
    # 25.0 M and 44.2 M with it
    "dlv2red_x50-32": (22_979_904, 700_454),
    "dlv2red_x101-32": (42_128_704, 700_454),
    "hrda1_daformer_sepaspp_mitb5": (81_443_008, 4_242_982),
}


def trained(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", sorted(path.stem for path in MODEL_CONFIGS.glob("*.py")))
def test_config_builds(name):
    model = published(name)
    assert model.num_classes == 19
    if name in COUNTS:
        assert (trained(model.backbone), trained(model.decode_head)) == COUNTS[name]


def test_one_channel_attention_has_fewer_parameters():
    cfg = Config.fromfile(MODEL_CONFIGS / "hrda1_daformer_sepaspp_mitb5.py").model
    cfg.decode_head.attention_classwise = False
    with torch.device("meta"):
        model = MODELS.build(cfg)
    assert trained(model.decode_head.scale_attention) == 526_081


def convolutions(module):
    """(kernel, dilation, groups > 1) of every convolution larger than 1x1."""
    return [
        (m.kernel_size[0], m.dilation[0], m.padding[0], m.groups > 1)
        for m in module.modules()
        if isinstance(m, torch.nn.Conv2d) and m.kernel_size != (1, 1)
    ]


CONTEXT = [(3, d, d, True) for d in (6, 12, 18)] + [(3, 1, 1, False)]
DECODERS = {
    "daformer_conv1_mitb5": [],
    "daformer_sepaspp_mitb5": CONTEXT,
    "daformer_aspp_mitb5": [(k, d, p, False) for k, d, p, _ in CONTEXT],
    "daformer_sepaspp_bottleneck_mitb5": CONTEXT,
    "daformer_isa_mitb5": [],
    "segformer_mitb5": [],
    "dlv2_r101v1c": [(3, d, d, False) for d in (6, 12, 18, 24)],
    "dlv2red_r101v1c": [(3, d, d, False) for d in (6, 12)],
    "hrda1_daformer_sepaspp_mitb5": CONTEXT,
    "hrda1_dlv2red_r101v1c": [(3, d, d, False) for d in (6, 12)] * 2,
}


@pytest.mark.parametrize("name", DECODERS)
def test_decoders_have_the_published_layers(name):
    head = published(name).decode_head
    assert convolutions(head) == DECODERS[name]
    inner = [m for m in head.modules() if hasattr(m, "align_corners")]
    assert not any(m.align_corners for m in inner)
    norms = [m for m in head.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert {type(m) for m in norms} <= {torch.nn.BatchNorm2d}
    with_dropout = {m.dropout_ratio for m in inner if getattr(m, "dropout", None) is not None}
    assert with_dropout == (set() if "deeplab" in name or "dlv2" in name else {0.1})


@pytest.mark.parametrize(
    "name",
    ["da_nodbn_r101v1c", "isa_nodbn_r101v1c", "dlv3p_nodbn_r101v1c", "sfa_dlv3p_nodbn_mitb5-del"],
)
def test_decoders_without_batch_norm(name):
    model = published(name)
    norms = torch.nn.modules.batchnorm._BatchNorm
    assert not any(isinstance(m, norms) for m in model.decode_head.modules())
    assert not model.with_auxiliary_head
    if model.with_neck:
        maps = [torch.rand(2, c, 32 // s, 32 // s) for c, s in ((64, 1), (128, 2), (320, 4))]
        maps.append(torch.rand(2, 512, 4, 4))
        with torch.no_grad():
            assert model.neck(maps)[3].shape == (2, 512, 16, 16)  # 1/8 of the image, as a ResNet's


@pytest.mark.parametrize("depth", [50, 101, 200])
def test_resnests_keep_an_eighth(depth):
    net = published(f"dlv2red_s{depth}").backbone
    assert (net.depth, net.radix, net.reduction_factor, net.avg_down_stride) == (depth, 2, 4, True)
    assert net.stem[0].out_channels == (32 if depth == 50 else 64)
    assert tuple(net.strides) == (1, 2, 1, 1) and tuple(net.dilations) == (1, 1, 2, 4)
    with torch.device("meta"):
        assert [m.shape[-1] for m in net(torch.empty(2, 3, 64, 64))] == [16, 8, 8, 8]


def test_encoders_have_the_published_layers():
    mit = published("daformer_sepaspp_mitb5").backbone
    rates = [block.ffn.dropout_layer.drop_prob for stage in mit.layers for block in stage[1]]
    assert rates == pytest.approx([0.1 * i / 51 for i in range(52)])
    assert (mit.channels, mit.num_heads) == ((64, 128, 320, 512), (1, 2, 5, 8))
    assert (mit.sr_ratios, mit.num_layers) == ((8, 4, 2, 1), (3, 6, 40, 3))
    embeds = [stage[0].projection for stage in mit.layers]
    assert [(e.kernel_size[0], e.stride[0]) for e in embeds] == [(7, 4), (3, 2), (3, 2), (3, 2)]
    resnet = published("dlv2red_r101v1c").backbone
    assert (resnet.depth, resnet.deep_stem, resnet.norm_eval) == (101, True, False)
    assert tuple(resnet.strides) == (1, 2, 1, 1)
    assert tuple(resnet.dilations) == (1, 1, 2, 4)
    first = [getattr(resnet, f"layer{i}")[0].conv2.dilation[0] for i in (3, 4)]
    assert first == [1, 2]  # contracted
