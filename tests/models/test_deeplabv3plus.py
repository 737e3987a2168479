import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmseg.registry import MODELS
from released_networks import CONFIGS
from small import published
from torch import nn

from mmseg_uda.errors import UserError
from mmseg_uda.models.backbones import StagedBackbone
from mmseg_uda.models.heads import AuxiliaryFCNHead, DeepLabV3PlusHead
from mmseg_uda.models.views import (
    Box,
    full_logits,
    full_prediction,
    resize_nearest,
    segmentation_loss,
    training_forward,
)
from mmseg_uda.models.weights import load_segmentor_weights

# parameters with and without the auxiliary head
COUNTS = {
    "resnet50": (45_081_542, 40_351_667),
    "resnet101": (64_073_670, 59_343_795),
    "mobilenet_v2": (14_840_966, 13_355_123),
    "shufflenet_v2_x1_0": (12_637_738, 10_488_343),
}


def narrow(**options):
    """A segmentor of the same layers, some 100 000 parameters."""
    backbone = dict(type="StagedBackbone", arch="resnet50", width=0.125, depth=0.25)
    cfg = dict(
        type="SlideEncoderDecoder",
        backbone=backbone,
        decode_head=dict(
            type="DeepLabV3PlusHead",
            in_channels=[32, 256],
            channels=16,
            low_channels=8,
            num_classes=19,
        ),
        auxiliary_head=dict(type="AuxiliaryFCNHead", in_channels=128, channels=16, num_classes=19),
        train_cfg=dict(),
        test_cfg=dict(mode="whole"),
    )
    return MODELS.build(ConfigDict({**cfg, **options}))


@pytest.mark.parametrize("arch", COUNTS)
def test_parameter_counts(arch):
    with torch.device("meta"):
        model = MODELS.build(Config.fromfile(CONFIGS[arch]).model)
    total = sum(p.numel() for p in model.parameters())
    aux = sum(p.numel() for p in model.auxiliary_head.parameters())
    assert (total, total - aux) == COUNTS[arch]


def test_published_layers():
    head = published("deeplabv3plus_r50-os16").decode_head
    convolutions = {
        name: (tuple(m.weight.shape), m.dilation[0], m.bias is not None)
        for name, m in head.named_modules()
        if isinstance(m, nn.Conv2d)
    }
    assert convolutions == {
        "image_mean.0": ((256, 2048, 1, 1), 1, False),
        "branches.0.0": ((256, 2048, 1, 1), 1, False),
        "branches.1.0": ((256, 2048, 3, 3), 6, False),
        "branches.2.0": ((256, 2048, 3, 3), 12, False),
        "branches.3.0": ((256, 2048, 3, 3), 18, False),
        "pyramid.0": ((256, 1280, 1, 1), 1, False),
        "low.0": ((48, 256, 1, 1), 1, False),
        "decoder.0.0": ((256, 304, 3, 3), 1, False),
        "decoder.1.0": ((256, 256, 3, 3), 1, False),
        "conv_seg": ((19, 256, 1, 1), 1, True),
    }
    assert not any(isinstance(m, nn.Dropout2d) for m in head.modules())


def test_published_auxiliary_layers():
    head = published("deeplabv3plus_r50-os16").auxiliary_head
    conv, classifier = head.conv[0], head.conv_seg
    assert conv.weight.shape == (512, 1024, 3, 3)
    assert conv.bias is not None
    assert classifier.weight.shape == (19, 512, 1, 1)
    assert head.dropout.p == 0.1
    assert head.loss_decode.loss_weight == 0.4


@torch.no_grad()
def test_head_by_hand():
    """The head, written with functions on its weights in the order of RobustNet's DeepLabV3+."""
    head = DeepLabV3PlusHead([8, 24], 16, low_channels=6, num_classes=5).eval()
    for norm in (m for m in head.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)

    def layer(block, x, dilation=1):
        conv, norm, _ = block
        x = F.conv2d(
            x, conv.weight, padding=dilation * (conv.kernel_size[0] // 2), dilation=dilation
        )
        x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        return F.relu(x)

    def resize(x, size):
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)

    low, high = torch.randn(2, 8, 12, 16), torch.randn(2, 24, 3, 4)
    parts = [resize(layer(head.image_mean, high.mean((2, 3), keepdim=True)), (3, 4))]
    for branch, dilation in zip(head.branches, (1, 6, 12, 18), strict=True):
        parts.append(layer(branch, high, dilation))
    up = resize(layer(head.pyramid, torch.cat(parts, 1)), (12, 16))
    x = torch.cat([layer(head.low, low), up], 1)
    x = layer(head.decoder[1], layer(head.decoder[0], x))
    expected = F.conv2d(x, head.conv_seg.weight, head.conv_seg.bias)
    assert torch.allclose(head([low, None, None, high]), expected, atol=1e-5)


@pytest.mark.parametrize("kind", [DeepLabV3PlusHead, AuxiliaryFCNHead])
def test_initial_values(kind):
    channels = [256, 256] if kind is DeepLabV3PlusHead else 256
    head = kind(channels, 64, num_classes=19)
    head.init_weights()
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            # the deviation of n normal values has a relative error of 1/sqrt(2n)
            error = 6 / (2 * module.weight.numel()) ** 0.5
            assert float(module.weight.detach().std()) == pytest.approx(
                (2 / fan_in) ** 0.5, rel=error
            )
            assert module.bias is None or not module.bias.any()
        elif isinstance(module, nn.BatchNorm2d):
            assert module.eps == 1e-5
            assert module.momentum == 0.1
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert not module.bias.any()


def with_hrda(**options):
    """HRDA with this decoder on a narrow MobileNetV2, whose logits have a stride of 8."""
    head = dict(
        type="HRDAHead",
        single_scale_head="DeepLabV3PlusHead",
        in_channels=[8, 160],
        channels=8,
        low_channels=4,
        num_classes=5,
        align_corners=False,
        hr_loss_weight=0.1,
    )
    backbone = dict(type="StagedBackbone", arch="mobilenet_v2", width=0.125, depth=0.25)
    return narrow(
        type="HRDAEncoderDecoder",
        backbone=backbone,
        decode_head={**head, **options},
        auxiliary_head=None,
        hr_crop_size=(32, 32),
    )


def test_it_decodes_both_scales_of_hrda():
    model = with_hrda(output_stride=8)
    assert model.crop_coord_divisible == 16
    output = training_forward(model.train(), torch.randn(2, 3, 64, 96), lambda v, h: (v - 1, 0))
    assert [view.logits.shape[-2:] for view in output.logits] == [(8, 12), (4, 4)]
    assert output.logits[1].box == Box(32, 64, 0, 32)
    assert full_logits(model.eval(), torch.randn(1, 3, 50, 70)).shape == (1, 5, 50, 70)


def test_another_stride_than_the_encoders_is_told():
    with pytest.raises(UserError, match="stride to be 4.*mobilenet_v2.* of 8") as error:
        with_hrda()
    assert "output_stride=8" in error.value.fix


def test_labels_are_reduced_to_the_upper_left():
    label = torch.arange(64).view(1, 8, 8)
    assert torch.equal(resize_nearest(label, (2, 2)), label[:, ::4, ::4])
    label = torch.randint(0, 256, (2, 768, 768))
    assert torch.equal(resize_nearest(label, (192, 192)), label[:, ::4, ::4])
    assert torch.equal(resize_nearest(label, (384, 384)), label[:, ::2, ::2])


def test_losses_by_hand():
    model = narrow().train()
    model.auxiliary_head.dropout.p = 0.0
    label = torch.randint(0, 19, (2, 64, 64))
    label[0, :40] = 255
    output = training_forward(model, torch.randn(2, 3, 64, 64))
    main, aux = (view.logits for view in output.logits)
    assert main.shape == (2, 19, 16, 16)
    assert aux.shape == (2, 19, 4, 4)
    losses = segmentation_loss(model, output, label)
    up = F.interpolate(main, size=(64, 64), mode="bilinear", align_corners=True)
    expected = F.cross_entropy(up, label, ignore_index=255)
    assert torch.allclose(losses["decode.loss_seg"], expected, atol=1e-5)
    expected = 0.4 * F.cross_entropy(aux, label[:, ::16, ::16], ignore_index=255)
    assert torch.allclose(losses["aux.loss_seg"], expected, atol=1e-5)


def test_pixel_weights_reach_the_auxiliary_head():
    model = narrow().train()
    output = training_forward(model, torch.randn(2, 3, 64, 64))
    label = torch.randint(0, 19, (2, 64, 64))
    weight = torch.zeros(2, 64, 64)
    losses = segmentation_loss(model, output, label, weight)
    assert losses["aux.loss_seg"] == 0
    weight[:, ::16, ::16] = 1.0
    weighted = segmentation_loss(model, output, label, weight)
    assert torch.allclose(
        weighted["aux.loss_seg"], segmentation_loss(model, output, label)["aux.loss_seg"]
    )


def test_unlabelled_crops_have_no_gradient():
    model = narrow().train()
    output = training_forward(model, torch.randn(2, 3, 64, 64))
    losses = segmentation_loss(model, output, torch.full((2, 64, 64), 255))
    total = losses["decode.loss_seg"] + losses["aux.loss_seg"]
    assert total == 0
    total.backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert not any(g.any() for g in gradients)


def test_losses_do_not_wait_for_the_device(no_host_sync):
    model = narrow().train()
    output = training_forward(model, torch.randn(2, 3, 64, 64))
    losses = segmentation_loss(model, output, torch.zeros(2, 64, 64, dtype=torch.int64))
    (losses["decode.loss_seg"] + losses["aux.loss_seg"]).backward()


def test_prediction_of_a_training_pass():
    model = narrow().eval()
    image = torch.randn(3, 3, 60, 76)
    output = training_forward(model, image)
    whole = full_prediction(model, output, (60, 76))
    assert whole.requires_grad
    assert torch.allclose(whole, full_logits(model, image), atol=1e-6)
    part = full_prediction(model, output, (60, 76), slice(1, 3))
    assert torch.equal(part, whole[1:])


@torch.no_grad()
def test_prediction_has_the_size_of_the_image():
    model = narrow().eval()
    image = torch.randn(2, 3, 60, 76)
    logits = full_logits(model, image)
    assert logits.shape == (2, 19, 60, 76)
    head = model.decode_head(model.extract_feat(image))
    expected = F.interpolate(head, size=(60, 76), mode="bilinear", align_corners=True)
    assert torch.allclose(logits, expected, atol=1e-6)


# Where the parts of a published SRHA checkpoint go; RobustNet's names
PUBLISHED = [
    ("backbone.layer", "layer"),
    ("decode_head.image_mean.", "aspp.img_conv."),
    ("decode_head.branches.", "aspp.features."),
    ("decode_head.pyramid.", "bot_aspp."),
    ("decode_head.low.", "bot_fine."),
    ("decode_head.decoder.0.", "final1."),
    ("decode_head.decoder.1.0.", "final1.3."),
    ("decode_head.decoder.1.1.", "final1.4."),
    ("decode_head.conv_seg.", "final2.0."),
    ("auxiliary_head.conv.", "dsn."),
    ("auxiliary_head.conv_seg.", "dsn.4."),
]


def published_state(model):
    state = {}
    for name, value in model.state_dict().items():
        ours, theirs = next(pair for pair in PUBLISHED if name.startswith(pair[0]))
        state[f"module.{theirs}{name[len(ours) :]}"] = value
    return {"state_dict": state, "epoch": 38, "mean_iu": 0, "command": "train.py"}


def randomised(model):
    for value in model.state_dict().values():
        if value.is_floating_point():
            nn.init.normal_(value)
    return model


def test_published_checkpoints_load(tmp_path):
    source, target = randomised(narrow()), narrow()
    assert isinstance(source.backbone, StagedBackbone)
    torch.save(published_state(source), tmp_path / "best.pth")
    load_segmentor_weights(target, tmp_path / "best.pth")
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name
    without = narrow(auxiliary_head=None)
    load_segmentor_weights(without, tmp_path / "best.pth")
    assert torch.equal(without.decode_head.low[0].weight, source.decode_head.low[0].weight)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_half_published_checkpoints_do_not_load(change):
    content = published_state(narrow())
    state = content["state_dict"]
    if change == "missing":
        del state["module.final1.4.weight"]
    elif change == "unexpected":
        state["module.whitening.weight"] = torch.ones(1)
    else:
        state["module.layer2.0.bn1.weight"] = torch.ones(3)
    target = randomised(narrow())
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(UserError, match=f"1 {change}"):
        load_segmentor_weights(target, content)
    for name, value in target.state_dict().items():
        assert torch.equal(before[name], value)


def test_every_trained_parameter_has_a_gradient():
    """DistributedDataParallel need not look for unused parameters."""
    model = narrow().train()
    output = training_forward(model, torch.randn(2, 3, 64, 64))
    losses = segmentation_loss(model, output, torch.randint(0, 19, (2, 64, 64)))
    (losses["decode.loss_seg"] + losses["aux.loss_seg"]).backward()
    missing = {name for name, p in model.named_parameters() if p.grad is None}
    assert missing == {f"backbone.layer0.{name}" for name in ("0.weight", "1.weight", "1.bias")}
