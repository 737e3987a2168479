import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from small import daformer_head, dlv2_head, hrda
from torch import nn

from mmseg_uda.errors import UserError
from mmseg_uda.models.views import (
    Box,
    backbone_features,
    full_logits,
    segmentation_loss,
    training_forward,
    view_image,
)

IMAGE = (64, 96)


def first(vertical, horizontal):
    return 0, 0


def head(**options):
    return MODELS.build(
        {**daformer_head(), "type": "HRDAHead", "single_scale_head": "DAFormerHead", **options}
    )


# fusion


def test_fusion_of_constant_maps():
    lr, hr, attention = (torch.full((1, 1, 4, 4), value) for value in (2.0, 6.0, 0.5))
    fused = head().fuse(lr, hr, attention, (8, 8), Box(8, 24, 8, 24)).fused[0, 0]
    cells = [(0, 0), (1, 3), (2, 3), (3, 3), (7, 7)]
    assert [fused[cell].item() for cell in cells] == [2.0, 1.75, 3.5, 4.0, 2.0]


def test_full_attention_in_a_full_box_shows_the_detail_prediction():
    lr, hr = torch.randn(1, 3, 4, 4), torch.randn(1, 3, 8, 8)
    out = head().fuse(lr, hr, torch.ones(1, 3, 4, 4), (8, 8), Box(0, 32, 0, 32))
    assert torch.allclose(out.fused, hr, atol=1e-6)


def test_no_attention_shows_the_upsampled_context_prediction():
    lr, hr = torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    out = head().fuse(lr, hr, torch.zeros(1, 3, 4, 4), (8, 8), Box(8, 24, 8, 24))
    expected = F.interpolate(lr, scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.allclose(out.fused, expected)


@pytest.mark.parametrize(("classwise", "channels"), [(True, 5), (False, 1)])
def test_attention_channels_and_start_value(classwise, channels):
    network = head(attention_classwise=classwise)
    network.init_weights()
    features = [torch.randn(1, c, 16 >> i, 16 >> i) for i, c in enumerate([8, 16, 24, 32])]
    attention = network.attention(features, network.head(features))
    assert attention.shape == (1, channels, 16, 16)
    assert attention.mean().item() == pytest.approx(0.5, abs=0.05)
    assert network.scale_attention.conv_seg.in_channels == 256


def test_fixed_attention_has_no_parameters_and_is_masked_by_the_box():
    network = head(fixed_attention=0.5)
    assert not hasattr(network, "scale_attention")
    lr = torch.zeros(1, 5, 4, 4)
    attention = network.attention([], lr)
    out = network.fuse(lr, torch.zeros(1, 5, 4, 4), attention, (8, 8), Box(8, 24, 8, 24))
    assert out.attention[0, 0, 3, 3] == 0.5
    assert out.attention[0, 0, 0, 0] == 0


# detail crop


@pytest.mark.parametrize(
    ("legacy", "side", "count"),
    [
        (True, 1024, 64),
        (False, 1024, 65),
        (True, 512, 1),
        (False, 512, 1),
        (True, 515, 1),
        (False, 515, 1),
        (False, 300, 1),
    ],
)
def test_offset_counts(legacy, side, count):
    model = hrda(hr_crop_size=(512, 512), legacy_offset_range=legacy)
    seen = []

    def last(vertical, horizontal):
        seen.append((vertical, horizontal))
        return vertical - 1, horizontal - 1

    box = model.choose_box((side, 1024), last)
    assert seen[0][0] == count
    assert box.y0 == (count - 1) * 8
    assert box.y1 - box.y0 == min(512, side)


def test_the_last_offset_touches_the_border():
    model = hrda(hr_crop_size=(512, 512))
    assert model.choose_box((1024, 1024), lambda v, h: (v - 1, h - 1)) == Box(512, 1024, 512, 1024)


def test_no_choice_draws_nothing():
    def fail(vertical, horizontal):
        raise AssertionError("drawn")

    assert hrda().choose_box((32, 32), fail) == Box(0, 32, 0, 32)


@pytest.mark.parametrize(("decoder", "divisor"), [(daformer_head, 8), (dlv2_head, 16)])
def test_both_grids_cut_the_same_region(decoder, divisor):
    model = hrda(decoder())
    stride = model.output_stride
    assert model.crop_coord_divisible == divisor
    for index in range(5):
        box = model.choose_box((128, 128), lambda v, h, i=index: (min(i, v - 1), 0))
        fine = box.scaled_slices(stride)[0]
        coarse = box.scaled_slices(stride / 0.5)[0]
        assert box.y0 % divisor == 0
        assert (2 * coarse.start, 2 * coarse.stop) == (fine.start, fine.stop)


def test_published_offsets_of_deeplab_can_be_asked_for():
    assert hrda(dlv2_head(), crop_coord_divisible=8).crop_coord_divisible == 8


def test_context_image_is_the_mean_of_pixel_pairs():
    image = torch.randn(2, 3, *IMAGE)
    assert torch.allclose(view_image(image, 0.5), F.avg_pool2d(image, 2), atol=1e-6)


# training


def test_loss_keys_and_weights():
    model = hrda()
    label = torch.randint(0, 5, (2, *IMAGE))
    weight = torch.rand(2, *IMAGE)
    output = training_forward(model, torch.randn(2, 3, *IMAGE), lambda v, h: (1, 2))
    losses = segmentation_loss(model, output, label, weight)
    assert list(losses) == [
        "decode.loss_seg",
        "decode.acc_seg",
        "decode.hr.loss_seg",
        "decode.hr.acc_seg",
    ]
    main, detail = output.logits
    assert detail.box == Box(8, 40, 16, 48)
    for view, key, factor in ((main, "decode", 0.9), (detail, "decode.hr", 0.1)):
        target, pixel_weight = label, weight
        if view.box is not None:
            target, pixel_weight = view.box.crop(label), view.box.crop(weight)
        logits = F.interpolate(view.logits, size=target.shape[1:], mode="bilinear")
        expected = (F.cross_entropy(logits, target, reduction="none") * pixel_weight).mean()
        assert losses[f"{key}.loss_seg"].item() == pytest.approx(factor * expected.item(), rel=1e-5)


def test_without_extra_losses_the_fused_one_has_weight_one():
    output = training_forward(
        hrda(head_options=dict(hr_loss_weight=0.0)), torch.randn(1, 3, *IMAGE)
    )
    assert [(view.name, view.weight) for view in output.logits] == [("", 1.0)]


def test_context_loss_sees_attention_scaled_logits():
    model = hrda(head_options=dict(lr_loss_weight=0.2, fixed_attention=0.25), hr_crop_size=None)
    image = torch.randn(1, 3, *IMAGE)
    views = {view.name: view for view in training_forward(model, image).logits}
    assert views[""].weight == pytest.approx(0.7)
    context = model.decode_head.head(backbone_features(model, image, 0.5))
    assert torch.allclose(views["lr"].logits, 0.75 * context, atol=1e-6)
    assert views["hr"].box is None


@pytest.mark.parametrize(
    ("feature_scale", "views"),
    [
        (0.5, [(0.5, None)]),
        (1, [(1, Box(0, 32, 0, 32))]),
        ("all", [(0.5, None), (1, Box(0, 32, 0, 32))]),
    ],
)
def test_feature_views(feature_scale, views):
    model = hrda(feature_scale=feature_scale)
    image = torch.randn(1, 3, *IMAGE)
    output = training_forward(model, image, first)
    assert [(view.scale, view.box) for view in output.features] == views
    for view in output.features:
        again = backbone_features(model, image, view.scale, view.box)
        assert torch.equal(view.features[-1], again[-1])


def test_the_box_leaves_no_trace_in_the_model():
    model = hrda()
    image = torch.randn(1, 3, *IMAGE)
    with torch.no_grad():
        before = full_logits(model, image)
        training_forward(model, image, lambda v, h: (v - 1, h - 1))
        assert torch.equal(full_logits(model, image), before)


def test_every_parameter_receives_a_gradient():
    model = hrda().train()
    output = training_forward(model, torch.randn(2, 3, *IMAGE))
    losses = segmentation_loss(model, output, torch.randint(0, 5, (2, *IMAGE)))
    sum(value for key, value in losses.items() if "loss" in key).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("options", "scales"),
    [
        (dict(scales=[1, 1], feature_scale=1), (1, 1)),
        (dict(scales=[1, 0.75], feature_scale=0.75), (0.75, 1)),
    ],
)
def test_other_scale_pairs(options, scales):
    model = hrda(crop_coord_divisible=8, **options)
    assert model.scales == scales
    image = torch.randn(1, 3, 96, 96)
    output = training_forward(model, image, lambda v, h: (1, 3))
    assert output.logits[0].logits.shape == (1, 5, 24, 24)
    assert output.features[0].scale == scales[0]
    assert full_logits(model, image).shape == (1, 5, 96, 96)


def test_blurred_detail_keeps_only_what_half_resolution_holds():
    sharp, blurred = hrda(), hrda(blur_hr_crop=True)
    blurred.load_state_dict(sharp.state_dict())
    smooth = F.interpolate(torch.randn(1, 3, 8, 8), size=(64, 64), mode="nearest")
    checker = torch.zeros(1, 3, 64, 64)
    checker[..., ::2, ::2] = checker[..., 1::2, 1::2] = 1.0
    checker -= F.interpolate(F.avg_pool2d(checker, 2), scale_factor=2)
    with torch.no_grad():
        plain = training_forward(blurred, smooth, first).logits[1].logits
        noisy = training_forward(blurred, smooth + checker, first).logits[1].logits
        difference = training_forward(sharp, smooth + checker, first).logits[1].logits - plain
    assert torch.allclose(plain, noisy, atol=1e-5)
    assert difference.abs().max() > 1e-3


def test_training_needs_crops_that_fit_the_grid():
    with pytest.raises(UserError, match="multiples of 8"):
        training_forward(hrda(), torch.randn(1, 3, 64, 60))


# prediction


def blend(model, image):
    """Detail logits of sliding crops, one by one, and the context logits."""
    total, count = torch.zeros(1, 5, 16, 24), torch.zeros(1, 1, 16, 24)
    for y in (0, 16, 32):
        for x in (0, 16, 32, 48, 64):
            logits = model.decode_head.head(model.extract_feat(image[..., y : y + 32, x : x + 32]))
            rows, columns = slice(y // 4, y // 4 + 8), slice(x // 4, x // 4 + 8)
            total[..., rows, columns] += logits
            count[..., rows, columns] += 1
    return total / count


@torch.no_grad()
def test_full_prediction_slides_detail_crops():
    model = hrda()
    image = torch.randn(1, 3, *IMAGE)
    lr_features = backbone_features(model, image, 0.5)
    lr = model.decode_head.head(lr_features)
    attention = model.decode_head.attention(lr_features, lr)
    up = nn.Upsample(scale_factor=2, mode="bilinear")
    fused = up(attention) * blend(model, image) + up((1 - attention) * lr)
    expected = F.interpolate(fused, size=IMAGE, mode="bilinear")
    assert torch.allclose(full_logits(model, image), expected, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("training", [False, True])
def test_chunks_do_not_change_the_prediction(training):
    """In training mode the decoder's batch statistics must not depend on the memory."""
    options = dict(dropout_ratio=0)
    together, chunked = hrda(head_options=options), hrda(head_options=options)
    chunked.load_state_dict(together.state_dict())
    chunked.test_cfg = ConfigDict(mode="whole", batch_pixels=2 * 32 * 32)
    image = torch.randn(2, 3, *IMAGE)
    for model in (together, chunked):
        model.decode_head.train(training)
    assert torch.allclose(full_logits(together, image), full_logits(chunked, image), atol=1e-5)


@torch.no_grad()
def test_prediction_keeps_every_mode():
    model = hrda()
    model.decode_head.head.train()
    before = [module.training for module in model.modules()]
    full_logits(model, torch.randn(1, 3, *IMAGE))
    assert [module.training for module in model.modules()] == before


@torch.no_grad()
@pytest.mark.parametrize("overlapping", [True, False])
def test_any_image_size(overlapping):
    model = hrda(hr_slide_overlapping=overlapping)
    assert full_logits(model, torch.randn(1, 3, 27, 45)).shape == (1, 5, 27, 45)
    assert full_logits(model, torch.randn(1, 3, 53, 70)).shape == (1, 5, 53, 70)


@torch.no_grad()
def test_without_sliding_the_whole_image_is_encoded_at_once():
    model = hrda(hr_slide_inference=False, head_options=dict(fixed_attention=1.0))
    image = torch.randn(1, 3, *IMAGE)
    logits = model.decode_head.head(model.extract_feat(image))
    expected = F.interpolate(logits, size=IMAGE, mode="bilinear")
    assert torch.allclose(full_logits(model, image), expected, atol=1e-5)


@torch.no_grad()
def test_single_parts_of_the_prediction():
    model = hrda()
    image = torch.randn(1, 3, *IMAGE)
    outputs = {}
    for part in ("LR", "HR", "ATT"):
        model.output_mode = part
        outputs[part] = model.encode_decode(image, [])
    lr = model.decode_head.head(backbone_features(model, image, 0.5))
    upsampled = F.interpolate(lr, scale_factor=2, mode="bilinear")
    expected = {
        "LR": F.interpolate(upsampled, size=IMAGE, mode="bilinear"),
        "HR": F.interpolate(blend(model, image), size=IMAGE, mode="bilinear"),
    }
    for part, value in expected.items():
        assert torch.allclose(outputs[part], value, atol=1e-5)
    assert torch.allclose(outputs["ATT"][:, :-1], full_logits(model, image))
    assert torch.allclose(outputs["ATT"][:, -1:], model.attention_map(image))


@torch.no_grad()
def test_attention_reaches_the_data_samples():
    window = dict(mode="slide", crop_size=(64, 64), stride=(32, 32))
    model = hrda(test_cfg=dict(**window, hrda_out="ATT"))
    sample = model.predict(torch.randn(1, 3, *IMAGE))[0]
    assert sample.pred_sem_seg.data.shape == (1, *IMAGE)
    assert sample.seg_logits.data.shape == (5, *IMAGE)
    attention = sample.scale_attention.data
    assert attention.shape == (1, *IMAGE)
    assert 0 <= attention.min() <= attention.max() <= 1


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (dict(scales=[0.5, 0.25]), "scales"),
        (dict(scales=[1]), "scales"),
        (dict(feature_scale=0.25), "feature_scale"),
        (dict(hr_crop_size=(30, 30)), "hr_crop_size"),
        (dict(head_options=dict(hr_loss_weight=0.7, lr_loss_weight=0.4)), "hr_loss_weight"),
    ],
)
def test_impossible_options_are_named(options, key):
    with pytest.raises(UserError, match=key):
        hrda(**options)


def test_unknown_output_is_named():
    with pytest.raises(UserError, match="hrda_out"):
        hrda(test_cfg=dict(mode="whole", hrda_out="MR"))
