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
    "dlv2red_r101v1c": (42_519_392, 700_454),
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
