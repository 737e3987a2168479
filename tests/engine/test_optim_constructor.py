"""Optimizer groups follow the published parameter names."""

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmseg.registry import MODELS

import mmseg_uda.datasets
import mmseg_uda.models  # noqa: F401
from mmseg_uda.engine import ReferenceNameConstructor
from mmseg_uda.errors import UserError


def nano_mit():
    return MODELS.build(
        dict(
            type="SlideEncoderDecoder",
            backbone=dict(type="MiT", variant="b0"),
            decode_head=dict(
                type="DAFormerHead",
                in_channels=[32, 64, 160, 256],
                in_index=[0, 1, 2, 3],
                channels=32,
                num_classes=19,
                norm_cfg=dict(type="BN"),
                decoder_params=dict(
                    embed_dims=32,
                    embed_cfg=dict(type="mlp", act_cfg=None, norm_cfg=None),
                    embed_neck_cfg=dict(type="mlp", act_cfg=None, norm_cfg=None),
                    fusion_cfg=dict(
                        type="conv",
                        kernel_size=1,
                        act_cfg=dict(type="ReLU"),
                        norm_cfg=dict(type="BN"),
                    ),
                ),
            ),
            test_cfg=ConfigDict(mode="whole"),
        )
    )


@pytest.fixture(scope="module")
def groups_by_name():
    model = nano_mit()
    cfg = Config.fromfile("configs/_base_/recipes/default.py").optim_wrapper
    cfg.pop("constructor")
    paramwise = cfg.pop("paramwise_cfg")
    optimizer = ReferenceNameConstructor(cfg, paramwise)(model).optimizer
    settings = {
        id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]
    }
    return optimizer, {n: settings[id(p)] for n, p in model.named_parameters()}, model


def test_every_layer_norm_of_the_encoder_has_no_weight_decay(groups_by_name):
    _, settings, model = groups_by_name
    norms = {
        f"{name}.{part}"
        for name, module in model.backbone.named_modules(prefix="backbone")
        if isinstance(module, torch.nn.LayerNorm)
        for part in ("weight", "bias")
    }
    assert len([n for n in norms if n.startswith("backbone.layers.0.2")]) == 2  # stage norm
    assert {settings[name] for name in norms} == {(6e-5, 0.0)}


def test_other_encoder_parameters_decay_and_the_decoder_learns_ten_times_faster(groups_by_name):
    _, settings, model = groups_by_name
    norms = {
        id(p) for m in model.modules() if isinstance(m, torch.nn.LayerNorm) for p in m.parameters()
    }
    for name, parameter in model.named_parameters():
        if name.startswith("decode_head"):  # its BatchNorms too
            assert settings[name] == (pytest.approx(6e-4), 0.01), name
        elif id(parameter) not in norms:
            assert settings[name] == (6e-5, 0.01), name


def test_equal_settings_share_a_group(groups_by_name):
    optimizer, _, _ = groups_by_name
    assert len(optimizer.param_groups) == 3


def test_an_unknown_option_is_named():
    with pytest.raises(UserError, match="bypass_duplicate"):
        ReferenceNameConstructor(
            dict(optimizer=dict(type="AdamW", lr=1.0)), dict(bypass_duplicate=1)
        )


def test_norms_of_every_kind_and_name_share_a_decay_unless_a_key_fits():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 1), torch.nn.GroupNorm(2, 4))
            self.bn, self.own = torch.nn.BatchNorm2d(4), torch.nn.InstanceNorm2d(4, affine=True)
            self.kept, self.norm_of_nothing = torch.nn.LayerNorm(4), torch.nn.Linear(4, 4)

    model = Net()
    cfg = dict(optimizer=dict(type="AdamW", lr=1.0, weight_decay=0.1))
    paramwise = dict(norm_decay_mult=0.0, custom_keys=dict(kept=dict(lr_mult=0.5)))
    optimizer = ReferenceNameConstructor(cfg, paramwise)(model).optimizer
    names = {id(p): n.rpartition(".")[0] for n, p in model.named_parameters()}
    found = {
        (g["lr"], g["weight_decay"]): {names[id(p)] for p in g["params"]}
        for g in optimizer.param_groups
    }
    assert found == {
        (1.0, 0.1): {"embed.0", "norm_of_nothing"},
        (1.0, 0.0): {"embed.1", "bn", "own"},
        (0.5, 0.1): {"kept"},
    }
