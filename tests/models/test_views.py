import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from small import daformer_head, dlv2_head, hrda, segmentor

from mmseg_uda.models.views import (
    Box,
    backbone_features,
    full_logits,
    segmentation_loss,
    training_forward,
)

IMAGE = (64, 96)
FCN = dict(
    type="FCNHead",
    in_channels=24,
    in_index=2,
    channels=8,
    num_convs=1,
    num_classes=5,
    norm_cfg=dict(type="BN"),
)


def sample(label=None, **meta):
    data = SegDataSample(metainfo=meta)
    if label is not None:
        data.gt_sem_seg = PixelData(data=label)
    return data


@pytest.mark.parametrize("head", [daformer_head(), dlv2_head()])
def test_output_of_a_plain_segmentor(head):
    model = segmentor(head)
    image = torch.randn(2, 3, *IMAGE)
    output = training_forward(model, image)
    (view,) = output.logits
    assert (view.name, view.weight, view.box) == ("", 1.0, None)
    (features,) = output.features
    assert (features.scale, features.box) == (1.0, None)
    for a, b in zip(features.features, backbone_features(model, image), strict=True):
        assert torch.equal(a, b)
    expected = F.interpolate(view.logits, size=IMAGE, mode="bilinear")
    assert torch.allclose(full_logits(model, image), expected)


def test_offsets_are_not_drawn_without_a_crop():
    training_forward(segmentor(), torch.randn(1, 3, *IMAGE), lambda v, h: 1 / 0)


def test_losses_of_auxiliary_heads():
    loss = dict(type="CrossEntropyLoss", loss_weight=0.4)
    model = segmentor(auxiliary_head=dict(FCN, loss_decode=loss))
    label = torch.randint(0, 5, (1, *IMAGE))
    output = training_forward(model, torch.randn(1, 3, *IMAGE))
    losses = segmentation_loss(model, output, label)
    assert list(losses) == [
        "decode.loss_seg",
        "decode.acc_seg",
        "aux.loss_ce",
        "aux.acc_seg",
    ]
    logits = F.interpolate(output.logits[1].logits, size=IMAGE, mode="bilinear")
    expected = 0.4 * F.cross_entropy(logits, label)
    assert losses["aux.loss_ce"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_several_auxiliary_heads_are_numbered():
    losses = dict(type="PixelCrossEntropy")
    model = segmentor(auxiliary_head=[dict(FCN, loss_decode=losses)] * 2)
    output = training_forward(model, torch.randn(1, 3, *IMAGE))
    keys = segmentation_loss(model, output, torch.zeros(1, *IMAGE).long())
    assert {"aux_0.loss_seg", "aux_1.loss_seg"} <= set(keys)


def test_zero_weight_switches_pixels_off():
    model = segmentor()
    label = torch.randint(0, 5, (1, *IMAGE))
    output = training_forward(model, torch.randn(1, 3, *IMAGE))
    weight = torch.zeros(1, *IMAGE)
    weight[:, :, :48] = 1
    masked = torch.where(weight > 0, label, 255)
    a = segmentation_loss(model, output, label, weight)["decode.loss_seg"]
    b = segmentation_loss(model, output, masked)["decode.loss_seg"]
    assert torch.allclose(a, b)


def test_a_step_never_waits_for_the_device(no_host_sync):
    for model in (segmentor().train(), hrda().train()):
        image, label = torch.randn(2, 3, *IMAGE), torch.randint(0, 5, (2, *IMAGE))
        with torch.no_grad():
            full_logits(model, image)
        output = training_forward(model, image, lambda v, h: (1, 0))
        losses = segmentation_loss(model, output, label, torch.rand(2, *IMAGE))
        sum(value for key, value in losses.items() if "loss" in key).backward()


@pytest.mark.parametrize("model", [segmentor, hrda])
def test_mixed_precision_keeps_losses_and_logits_in_float32(model):
    network = model()
    image = torch.randn(1, 3, *IMAGE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = training_forward(network, image)
        losses = segmentation_loss(network, output, torch.randint(0, 5, (1, *IMAGE)))
        logits = full_logits(network, image)
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert logits.dtype == torch.float32
    assert torch.allclose(logits, full_logits(network, image), atol=0.1)


@torch.no_grad()
@pytest.mark.parametrize("model", [segmentor, hrda])
@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_mmseg_prediction_has_the_original_size(model, mode):
    test_cfg = dict(mode=mode, crop_size=(64, 64), stride=(32, 32))
    result = model(test_cfg=test_cfg).predict(
        torch.randn(1, 3, *IMAGE),
        [sample(ori_shape=(128, 192), img_shape=IMAGE, pad_shape=IMAGE)],
    )[0]
    assert result.pred_sem_seg.data.shape == (1, 128, 192)
    assert result.seg_logits.data.shape == (5, 128, 192)


@pytest.mark.parametrize("model", [segmentor, hrda])
def test_stock_training_gets_the_same_losses(model):
    network = model()
    label = torch.randint(0, 5, (2, 1, *IMAGE))
    losses = network.loss(torch.randn(2, 3, *IMAGE), [sample(one) for one in label])
    total, _ = network.parse_losses(losses)
    total.backward()
    assert "decode.loss_seg" in losses


def test_box_crops_the_last_two_axes():
    x = torch.arange(24).view(1, 4, 6)
    assert Box(1, 3, 2, 4).crop(x).tolist() == [[[8, 9], [14, 15]]]


def test_box_slices_are_truncated():
    assert Box(8, 24, 24, 40).scaled_slices(16) == (slice(0, 1), slice(1, 2))
