"""Segmentor configs of mmseg 0.x: every key has a meaning here or is refused by name."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from pinned_weights import reference_case

import mmseg_uda.models  # noqa: F401
from mmseg_uda.errors import UserError
from mmseg_uda.models.reference_config import from_reference_config


def net(case="daformer", **changes):
    cfg = copy.deepcopy(reference_case(case)[0])
    for key, value in changes.items():
        cfg[key] = {**cfg[key], **value} if isinstance(cfg.get(key), dict) else value
    return cfg


def test_old_names():
    old = net(
        "hrda_daformer",
        type="MultiResEncoderDecoder",
        pretrained="pretrained/mit_b5.pth",
        backbone=dict(type="mit_b5", ema_drop_path_rate=0),
        decode_head=dict(
            type="MultiResAttentionWrapper",
            single_scale_head="UniHead",
            enable_hr_crop=True,
            hr_slide_inference=True,
            debug_output_attention=False,
        ),
    )
    old["decode_head"]["decoder_params"]["fusion_cfg"]["fusion"] = "aspp"
    before = copy.deepcopy(old)
    cfg = from_reference_config(old)
    assert old == before
    assert cfg.type == "HRDAEncoderDecoder"
    assert cfg.backbone == {
        "type": "MiT",
        "variant": "b5",
        "init_cfg": {"type": "BackboneWeights", "checkpoint": "mit_b5"},
    }
    assert cfg.legacy_offset_range
    assert cfg.decode_head.type == "HRDAHead"
    assert cfg.decode_head.single_scale_head == "DAFormerHead"
    assert not {"enable_hr_crop", "hr_slide_inference"} & cfg.decode_head.keys()
    assert "fusion" not in cfg.decode_head.decoder_params.fusion_cfg
    cfg.backbone.init_cfg = None
    with torch.device("meta"):
        MODELS.build(cfg)


@pytest.fixture
def example():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 4, 4, generator=generator)
    label = torch.randint(0, 5, (2, 4, 4), generator=generator)
    label[0, :2] = 255
    return logits, label


def built_loss(loss):
    cfg = from_reference_config(net(decode_head=dict(loss_decode=loss)))
    return MODELS.build(cfg.decode_head.loss_decode)


def test_the_cross_entropy_keeps_its_options(example):
    logits, label = example
    weights = [1.0, 2.0, 0.5, 1.0, 3.0]
    loss = built_loss(
        dict(
            type="CrossEntropyLoss",
            use_sigmoid=False,
            loss_weight=0.4,
            avg_non_ignore=True,
            class_weight=weights,
            loss_name="loss_aux",
        )
    )
    pixels = F.cross_entropy(
        logits, label, weight=torch.tensor(weights), ignore_index=255, reduction="none"
    )
    expected = 0.4 * pixels.sum() / (label != 255).sum()
    assert torch.allclose(loss(logits, label), expected)
    assert loss.loss_name == "loss_aux"


def test_a_plain_cross_entropy_is_reported_as_in_mmseg_0x(example):
    logits, label = example
    loss = built_loss(dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0))
    expected = F.cross_entropy(logits, label, ignore_index=255, reduction="none").mean()
    assert torch.allclose(loss(logits, label), expected)
    assert loss.loss_name == "loss_seg"


@pytest.mark.parametrize(
    "loss",
    [
        dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=2.0),
        dict(type="CrossEntropyLoss", reduction="sum"),
        dict(type="DiceLoss", loss_name="loss_dice"),
    ],
)
def test_other_losses_stay(loss):
    cfg = from_reference_config(net(decode_head=dict(loss_decode=loss)))
    assert cfg.decode_head.loss_decode == loss


def test_lists_of_losses_and_of_heads():
    losses = [
        dict(type="CrossEntropyLoss", loss_name="loss_ce", loss_weight=1.0),
        dict(type="DiceLoss", loss_name="loss_dice", loss_weight=3.0),
    ]
    aux = dict(type="FCNHead", in_channels=64, in_index=1, channels=8, num_classes=19)
    plain = dict(type="CrossEntropyLoss", loss_weight=0.4)
    cfg = from_reference_config(
        net(
            decode_head=dict(loss_decode=losses),
            auxiliary_head=[{**aux, "loss_decode": plain}, {**aux, "loss_decode": losses}],
        )
    )
    assert cfg.decode_head.loss_decode == [
        dict(type="PixelCrossEntropy", loss_name="loss_ce", loss_weight=1.0),
        losses[1],
    ]
    ours = dict(type="PixelCrossEntropy", loss_weight=0.4)
    assert [head.loss_decode for head in cfg.auxiliary_head] == [ours, cfg.decode_head.loss_decode]
    with torch.device("meta"):
        assert len(MODELS.build(cfg).auxiliary_head) == 2


def test_a_cascade():
    fcn = dict(type="FCNHead", in_channels=256, in_index=3, channels=8, num_classes=19)
    ocr = dict(fcn, type="OCRHead", ocr_channels=8, loss_decode=dict(type="CrossEntropyLoss"))
    cfg = net(type="CascadeEncoderDecoder", num_stages=2)
    cfg["decode_head"] = [fcn, ocr]
    cfg = from_reference_config(cfg)
    assert cfg.decode_head[1].loss_decode.type == "PixelCrossEntropy"
    with torch.device("meta"):
        assert len(MODELS.build(cfg).decode_head) == 2


@pytest.mark.parametrize(
    ("neck", "factor"),
    [
        ({}, 4),
        (dict(out_layers=[3]), 4),
        (dict(scales=[8]), 8),
        (dict(out_layers=[3], scales=[2]), 2),
    ],
)
def test_the_neck_enlarges_the_last_level(neck, factor):
    cfg = from_reference_config(net(neck=dict(type="SegFormerAdapter", **neck)))
    maps = [torch.randn(1, 2, side, side) for side in (16, 8, 4, 2)]
    found = MODELS.build(cfg.neck)(maps)
    assert all(torch.equal(a, b) for a, b in zip(found[:3], maps, strict=False))
    expected = F.interpolate(maps[3], scale_factor=factor, mode="bilinear", align_corners=False)
    assert torch.equal(found[3], expected)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (dict(pretrained="open-mmlab://resnet101_v1c"), ("BackboneWeights", "resnet101_v1c")),
        (dict(pretrained="torchvision://resnet50"), ("Pretrained", "torchvision://resnet50")),
        (dict(pretrained="pretrained/own.pth"), ("BackboneWeights", "own")),
        (dict(pretrained="/x/own.pth"), ("BackboneWeights", "/x/own.pth")),
        (dict(backbone=dict(pretrained="pretrained/mit_b3.pth")), ("BackboneWeights", "mit_b3")),
        (
            dict(backbone=dict(init_cfg=dict(type="Pretrained", checkpoint="x/mit_b3.pth"))),
            ("BackboneWeights", "mit_b3"),
        ),
    ],
)
def test_initial_weights(given, expected):
    init = from_reference_config(net(**given)).backbone.init_cfg
    assert (init.type, init.checkpoint) == expected


def test_renamed_options_of_the_encoder():
    cfg = from_reference_config(net(backbone=dict(in_chans=4, depths=[1, 1, 1, 1])))
    assert (cfg.backbone.in_channels, list(cfg.backbone.num_layers)) == (4, [1, 1, 1, 1])


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (dict(type="WhatEncoderDecoder", odd=1), "model.odd"),
        (dict(scales=[1, 0.5]), "model.scales"),  # HRDA's alone
        (dict(backbone=dict(img_size=224)), "model.backbone.img_size"),
        (dict(backbone=dict(type="NoNet")), "model.backbone.type='NoNet'"),
        (dict(decode_head=dict(type="NoHead")), "model.decode_head.type='NoHead'"),
        (dict(decode_head=dict(chanels=3)), "model.decode_head.chanels"),
        (dict(neck=dict(type="SegFormerAdapter", out_layers=[2, 3])), "model.neck.out_layers"),
        (dict(neck=dict(type="SegFormerAdapter", mode="near")), "model.neck.mode"),
        (dict(neck=dict(type="FPN", what=1)), "model.neck.what"),
        (dict(test_cfg=dict(mode="slide", odd=1)), "model.test_cfg.odd"),
        (
            dict(decode_head=dict(loss_decode=dict(type="CrossEntropyLoss", odd=1))),
            "model.decode_head.loss_decode.odd",
        ),
        (
            dict(decode_head=dict(loss_decode=dict(type="CrossEntropyLoss", class_weight="w.pkl"))),
            "model.decode_head.loss_decode.class_weight",
        ),
    ],
)
def test_a_key_without_counterpart_is_named(change, name):
    with pytest.raises(UserError) as caught:
        from_reference_config(net(**change))
    assert caught.value.message.startswith(name)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (dict(enable_hr_crop=False), "enable_hr_crop"),
        (dict(hr_slide_inference=False), "hr_slide_inference"),
        (dict(scales=[1, 0.25]), "scales"),
        (dict(debug_output_attention=True), "debug_output_attention"),
    ],
)
def test_what_the_head_of_hrda_repeats_has_to_agree(head, name):
    with pytest.raises(UserError, match=name):
        from_reference_config(net("hrda_daformer", decode_head=head))


@pytest.mark.parametrize(
    "params",
    [
        dict(train_scales=[1]),
        dict(embed_cfg=dict(type="mlp", norm_cfg=dict(type="BN"))),
        dict(embed_cfg=dict(type="mlp", kernel_size=3)),
    ],
)
def test_decoders_swallow_no_option(params):
    cfg = net()
    cfg["decode_head"]["decoder_params"] |= params
    with pytest.raises(UserError, match="decoder_params"), torch.device("meta"):
        MODELS.build(from_reference_config(cfg))
