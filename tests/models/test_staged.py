import copy

import pytest
import torch
import torchvision
from mmengine.model import convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg_uda.engine.compilation import compile_network
from mmseg_uda.errors import UserError
from mmseg_uda.models.backbones import InstanceStandardize, StagedBackbone, instance_standardize
from mmseg_uda.models.recompute import encoder_blocks, recompute_modules

LIGHT = ("mobilenet_v2", "shufflenet_v2_x1_0")
FAMILIES = ("resnet50", *LIGHT)
# channels and, for images of 64x64, sides of the stem and the four stages
SHAPES = {
    "resnet50": [(64, 16), (256, 16), (512, 8), (1024, 4), (2048, 4)],
    "resnet101": [(64, 16), (256, 16), (512, 8), (1024, 4), (2048, 4)],
    "mobilenet_v2": [(16, 32), (32, 8), (64, 4), (320, 4), (1280, 4)],
    "shufflenet_v2_x1_0": [(24, 16), (116, 8), (232, 4), (464, 4), (1024, 4)],
}
FROZEN = {"resnet50": 9536, "resnet101": 9536, "mobilenet_v2": 1824, "shufflenet_v2_x1_0": 696}


def small(arch="resnet50", **options):
    return StagedBackbone(arch, width=0.125, depth=0.25, **options)


def meta(arch, **options):
    with torch.device("meta"):
        return StagedBackbone(arch, **options)


@pytest.mark.parametrize("arch", SHAPES)
def test_shapes(arch):
    backbone = meta(arch)
    h = backbone.forward_stem(torch.zeros(2, 3, 64, 64, device="meta"))
    maps = backbone.forward_stages(h)
    assert [(m.shape[1], m.shape[2]) for m in (h, *maps)] == SHAPES[arch]
    assert (backbone.stem_channels, backbone.stem_stride) == (h.shape[1], 64 // h.shape[2])
    assert backbone.feature_channels == tuple(m.shape[1] for m in maps)
    assert backbone.feature_strides == tuple(64 // m.shape[2] for m in maps)


@pytest.mark.parametrize("arch", SHAPES)
def test_frozen_parameters(arch):
    backbone = meta(arch)
    frozen = [p for p in backbone.parameters() if not p.requires_grad]
    assert sum(p.numel() for p in frozen) == FROZEN[arch]
    assert {id(p) for p in frozen} == {id(p) for p in backbone.stem.parameters()}


def large_convolutions(module):
    """(stride, dilation, padding) of every 3x3 convolution, with its name."""
    return {
        name: (m.stride[0], m.dilation[0], m.padding[0])
        for name, m in module.named_modules()
        if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)
    }


def test_dilation_of_resnets():
    for arch in ("resnet50", "resnet101"):
        backbone = meta(arch)
        last = large_convolutions(backbone.layer4)
        assert len(last) == 3
        assert set(last.values()) == {(1, 2, 2)}
        assert backbone.layer4[0].downsample[0].stride == (1, 1)
        for stage in backbone.stages[:3]:
            assert {dilation for _, dilation, _ in large_convolutions(stage).values()} == {1}


@pytest.mark.parametrize(
    ("arch", "names"),
    [
        ("mobilenet_v2", ["layer3.3.conv.1.0"]),  # features[14]
        ("shufflenet_v2_x1_0", ["layer3.0.branch1.0", "layer3.0.branch2.3"]),  # stage4, block 0
    ],
)
def test_dilation_of_light_networks(arch, names):
    convolutions = large_convolutions(meta(arch))
    dilated = {name: value for name, value in convolutions.items() if value[1] > 1}
    assert dilated == dict.fromkeys(names, (1, 2, 2))


def torchvision_parts(arch, network, x):
    """Outputs of torchvision's own network at our cuts."""
    if arch == "resnet50":
        x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
        parts = [network.layer1, network.layer2, network.layer3, network.layer4]
    elif arch == "mobilenet_v2":
        x = network.features[:2](x)
        parts = [network.features[a:b] for a, b in ((2, 7), (7, 11), (11, 18), (18, 19))]
    else:
        x = network.maxpool(network.conv1(x))
        parts = [network.stage2, network.stage3, network.stage4, network.conv5]
    outs = [x]
    for part in parts:
        outs.append(part(outs[-1]))
    return outs


@torch.no_grad()
@pytest.mark.parametrize("arch", FAMILIES)
def test_same_network_as_torchvision(arch):
    network = getattr(torchvision.models, arch)(weights=None).eval()
    backbone = StagedBackbone(arch, output_stride=32, standardize=False).eval()
    state = backbone.from_torchvision_names(network.state_dict())
    state = {name: value for name, value in state.items() if not name.startswith(("fc.", "clas"))}
    backbone.load_state_dict(state)
    written = backbone.to_torchvision_names(backbone.state_dict())
    assert written.keys() <= network.state_dict().keys()
    image = torch.randn(1, 3, 64, 64)
    ours = [backbone.forward_stem(image), *backbone(image)]
    for a, b in zip(ours, torchvision_parts(arch, network, image), strict=True):
        assert torch.equal(a, b)


def test_dilated_resnets_are_torchvisions():
    for stride, replaced in ((16, [False, False, True]), (8, [False, True, True])):
        with torch.device("meta"):
            theirs = torchvision.models.resnet50(replace_stride_with_dilation=replaced)
        # torchvision leaves the first block of a dilated stage at the dilation before it
        ours = meta("resnet50", output_stride=stride)
        for name in ("layer3", "layer4"):
            a, b = (large_convolutions(getattr(n, name)) for n in (ours, theirs))
            assert {k: v for k, v in a.items() if k[0] != "0"} == {
                k: v for k, v in b.items() if k[0] != "0"
            }
            assert {value[0] for value in a.values()} <= {1, 2}
        assert ours.feature_strides[-1] == stride


@pytest.mark.parametrize("arch", FAMILIES)
def test_forward_is_stem_standardise_stages(arch):
    backbone = small(arch).eval()
    image = torch.randn(2, 3, 64, 64)
    h = backbone.forward_stem(image)
    standardised = instance_standardize(h)
    assert torch.allclose(standardised.mean((2, 3)), torch.zeros(()), atol=1e-5)
    expected = backbone.forward_stages(standardised)
    for a, b in zip(backbone(image), expected, strict=True):
        assert torch.equal(a, b)
    assert [m.shape for m in backbone.forward_stages(standardised, outs=(2, 3))] == [
        m.shape for m in expected[1:3]
    ]


def test_predictions_do_not_depend_on_the_batch():
    backbone = small().eval()
    images = torch.randn(2, 3, 64, 64)
    together = backbone(images)
    alone = [backbone(image[None]) for image in images]
    for level, maps in enumerate(together):
        separate = torch.cat([maps_of_one[level] for maps_of_one in alone])
        assert torch.allclose(maps, separate, atol=1e-5)


def test_standardisation_values():
    x = torch.tensor([1.0, 2, 3, 4]).view(1, 1, 2, 2)
    expected = torch.tensor([-1.1618949, -0.3872983, 0.3872983, 1.1618949])
    assert torch.allclose(InstanceStandardize()(x).flatten(), expected, atol=1e-5)
    biased = InstanceStandardize(unbiased=False)(x).flatten()
    assert torch.allclose(biased, expected * (4 / 3) ** 0.5, atol=1e-5)


def test_standardisation_of_constant_channels():
    x = torch.full((2, 3, 4, 4), 7.0, requires_grad=True)
    y = instance_standardize(x)
    assert torch.equal(y, torch.zeros_like(y))
    y.sum().backward()
    assert torch.isfinite(x.grad).all()


def test_standardisation_of_single_positions_is_refused():
    with pytest.raises(ValueError, match="1x1"):
        instance_standardize(torch.ones(2, 3, 1, 1))
    y = instance_standardize(torch.ones(2, 3, 1, 1), unbiased=False)
    assert torch.equal(y, torch.zeros_like(y))


def test_standardisation_of_other_types():
    x = torch.tensor([[1, 2], [3, 4]]).view(1, 1, 2, 2)
    assert torch.equal(instance_standardize(x), instance_standardize(x.float()))
    double = torch.randn(2, 3, 4, 5, dtype=torch.float64).transpose(2, 3)
    expected = (double - double.mean((2, 3), keepdim=True)) / (
        double.flatten(2).std(2)[..., None, None] + 1e-7
    )
    assert torch.allclose(instance_standardize(double), expected, rtol=1e-12, atol=1e-12)


def test_standardisation_of_half_precision():
    x = 1000 + torch.randn(1, 2, 16, 16)
    half = x.to(torch.float16)
    y = instance_standardize(half)
    assert y.dtype == torch.float16
    assert torch.allclose(y.float(), instance_standardize(half.float()), atol=2e-3)


def step(backbone, images=None):
    """One step of gradient descent in training mode."""
    backbone.train()
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
    maps = backbone(torch.randn(2, 3, 64, 64) if images is None else images)
    sum(m.square().mean() for m in maps).backward()
    optimizer.step()


@pytest.mark.parametrize("arch", FAMILIES)
def test_training_leaves_the_stem_alone(arch):
    backbone = small(arch)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    step(backbone)
    step(backbone)
    after = backbone.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not {name for name in changed if name.startswith("layer0.")}
    statistics = {name for name in before if "running_mean" in name and "layer0" not in name}
    assert statistics <= changed
    weights = {name for name, p in backbone.named_parameters() if p.requires_grad}
    assert weights <= changed


def test_frozen_stages_are_chosen():
    # standardised, the scale of the stem would have no gradient
    backbone = small(frozen_stages=("layer2",), standardize=False).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    step(backbone)
    after = backbone.state_dict()
    unchanged = {name for name in before if torch.equal(before[name], after[name])}
    assert unchanged == {name for name in before if name.startswith("layer2.")}
    assert not backbone.layer2.training
    with pytest.raises(UserError, match="layer5"):
        small(frozen_stages=("stem", "layer5"))


def test_unknown_options_are_told():
    with pytest.raises(UserError, match="resnet18"):
        StagedBackbone("resnet18")
    with pytest.raises(UserError, match="output_stride=8"):
        small("mobilenet_v2", output_stride=8)


@pytest.mark.parametrize("arch", FAMILIES)
def test_recomputed_steps_are_the_same(arch):
    images = torch.randn(2, 3, 64, 64)
    results = []
    for recompute in (False, True):
        torch.manual_seed(0)
        backbone = small(arch)
        if recompute:
            recompute_modules(encoder_blocks(backbone))
        step(backbone, images)
        results.append(backbone.state_dict())
    plain, recomputed = results
    assert plain.keys() == recomputed.keys()
    for name, value in plain.items():
        assert torch.equal(value, recomputed[name]), name


def test_compiled_where_training_enters():
    """The stem and the stages, between which SRHA works, are compiled, too."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(len(inputs))
        return graph.forward

    model = nn.Module()
    model.backbone, model.decode_head = small("shufflenet_v2_x1_0"), nn.Identity()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model.backbone.eval()(images)
        assert compile_network(model, dict(backend=backend))
        graphs.clear()
        backbone = model.backbone
        maps = backbone.forward_stages(backbone.standardize(backbone.forward_stem(images)))
    assert len(graphs) == 2
    for a, b in zip(maps, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    torch.compiler.reset()


def test_synchronised_statistics():
    """``sync_bn`` converts every BatchNorm; the frozen stem stays frozen."""
    torch.manual_seed(0)
    plain = small("mobilenet_v2").train()
    images = torch.randn(2, 3, 64, 64)
    converted = convert_sync_batchnorm(copy.deepcopy(plain)).train()
    kinds = {type(m) for m in converted.modules() if isinstance(m, _BatchNorm)}
    assert kinds == {nn.SyncBatchNorm}
    assert not any(m.training for m in converted.stem.modules())
    assert not any(p.requires_grad for p in converted.stem.parameters())
    # one process has nothing to synchronise
    for a, b in zip(plain(images), converted(images), strict=True):
        assert torch.allclose(a, b, atol=1e-5)
