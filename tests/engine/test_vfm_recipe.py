"""Rates and learning-rate groups of VFM-UDA against the published code's."""

import json

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS, PARAM_SCHEDULERS
from nano import nano_config
from vfm import VFM, golden_network, published_name, vfm_uda_network

from mmseg_uda.engine import ReferenceNameConstructor, WarmupLinear
from mmseg_uda.errors import UserError
from mmseg_uda.self_training.augmentation import blur_kernel_size
from mmseg_uda.self_training.teacher import ema_alpha

SCHEDULE = json.loads((VFM / "schedule.json").read_text())


def scheduler(**options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    return PARAM_SCHEDULERS.build(dict(type="WarmupLinear", optimizer=optimizer, **options))


def test_factors_are_the_published_ones():
    curve = scheduler()
    for step, factor in SCHEDULE["lr_factor"].items():
        assert curve.factor(int(step)) == pytest.approx(factor, rel=1e-9, abs=1e-15)
    smooth = scheduler(continuous=True)
    assert smooth.factor(1499) == pytest.approx(1 - 1499 / 40000)
    assert smooth.factor(1500) == curve.factor(1500) == 0.9625


def test_the_optimizer_follows_and_resumes():
    curve = scheduler(warmup=2, total=10)
    rates = []
    for _ in range(4):
        rates.append(curve.optimizer.param_groups[0]["lr"])
        curve.step()
    assert rates == pytest.approx([0.002, 2.0, 1.6, 1.4])
    resumed = scheduler(warmup=2, total=10)
    resumed.load_state_dict(curve.state_dict())
    resumed.step(), curve.step()
    last = [s.optimizer.param_groups[0]["lr"] for s in (resumed, curve)]
    assert isinstance(curve, WarmupLinear) and last[0] == last[1]


def groups(model, **options):
    wrapper = dict(optimizer=dict(type="AdamW", lr=5e-5 * 8**0.5, weight_decay=0.01))
    built = ReferenceNameConstructor(wrapper, options)(model).optimizer.param_groups
    names = {id(p): n for n, p in model.named_parameters()}
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in built for p in g["params"]}


@pytest.mark.parametrize("decay", ["1.0", "0.9"])
def test_groups_are_the_published_ones(decay):
    found = groups(golden_network(), layer_decay=dict(multiplier=0.1, decay=float(decay)))
    found = {published_name(name): value for name, value in found.items()}
    expected = {
        name: (group["lr"], group["weight_decay"])
        for group in SCHEDULE["groups"][decay]
        for name in group["names"]
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-12), name


def test_equal_settings_share_a_group_and_custom_keys_win():
    wrapper = dict(optimizer=dict(type="AdamW", lr=1.0, weight_decay=0.01))
    options = dict(layer_decay=dict(multiplier=0.1, decay=1.0))
    model = golden_network()
    assert len(ReferenceNameConstructor(wrapper, options)(model).optimizer.param_groups) == 2
    keys = {"pos_embed": dict(lr_mult=0.0)}
    assert groups(model, custom_keys=keys, **options)["backbone.pos_embed"] == (0.0, 0.01)


def test_averages_and_kernels_are_the_published_ones():
    for step, alpha in SCHEDULE["ema_alpha"].items():
        assert ema_alpha(int(step), 0.999) == pytest.approx(alpha, rel=1e-12)
    for side, kernel in SCHEDULE["blur_kernel"].items():
        assert blur_kernel_size(int(side)) == kernel


def test_a_frozen_encoder_is_not_optimized():
    for options in (dict(trainable="none"), dict(trainable="adapters", adapter=dict(type="lora"))):
        model = MODELS.build(ConfigDict(vfm_uda_network(32, 2, 2, **options)))
        found = groups(model, layer_decay=dict(multiplier=0.1, decay=0.9))
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        assert found.keys() == trained
        assert any(".lora_" in name for name in found) == (options["trainable"] == "adapters")
        assert not any(name.endswith(("qkv.weight", "pos_embed")) for name in found)


def test_twelve_blocks():
    with torch.device("meta"):
        model = MODELS.build(ConfigDict(vfm_uda_network(8, 12, 2)))
    found = groups(model, layer_decay=dict(multiplier=0.1, decay=0.9))
    base = 5e-5 * 8**0.5
    for name, factor in (
        ("backbone.blocks.11.norm1.weight", 0.1),
        ("backbone.blocks.0.norm1.weight", 0.03138106),
        ("backbone.norm.weight", 0.02824295),
        ("decode_head.conv_seg.weight", 1.0),
    ):
        assert found[name][0] / base == pytest.approx(factor, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (dict(layer_decay=dict(multipler=0.1)), "layer_decay.multipler"),
        (dict(layer_decay=dict(above=3)), "layer_decay.above"),
        (dict(layer_deacy={}), "layer_deacy"),
    ],
)
def test_refused(options, told):
    with pytest.raises(UserError, match=told):
        groups(golden_network(), **options)


def test_needs_one_row_of_blocks():
    with pytest.raises(UserError, match="NanoBackbone is not one row of blocks"):
        groups(MODELS.build(ConfigDict(nano_config())), layer_decay=dict(multiplier=0.1))
