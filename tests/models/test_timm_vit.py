"""Plain vision transformers as encoders: sizes, maps, freezing, loading."""

import json
import math
import re
from pathlib import Path

import huggingface_hub
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmseg.registry import MODELS
from safetensors.torch import save_file
from vfm import VFM, vfm_uda_network, vit

from mmseg_uda.errors import UserError
from mmseg_uda.hub import PRETRAINED_ROOT_VARIABLE
from mmseg_uda.models.normalization import check_normalization
from mmseg_uda.models.recompute import recompute_activations
from mmseg_uda.models.views import full_logits, training_forward

ROOT = Path(__file__).parents[2]
DINOV2 = "vit_small_patch14_dinov2"
ARCHITECTURES = {
    # millions of parameters without head and mask token
    "vit_small_patch14_dinov2": 22.06,
    "vit_base_patch14_dinov2": 86.58,
    "vit_large_patch14_dinov2": 304.37,
    "vit_small_patch16_dinov3": 21.59,
    "vit_base_patch16_dinov3": 85.64,
    "vit_large_patch16_dinov3": 303.08,
}
KINDS = (
    DINOV2,
    "vit_small_patch14_reg4_dinov2",
    "vit_small_patch16_dinov3",
    "vit_small_patch16_dinov3_qkvb",
    "eva02_base_patch14_224",
    "deit3_small_patch16_224",
    "vit_base_patch16_clip_224",
)


def build(arch=DINOV2, **options):
    return MODELS.build(vit(arch, **options))


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv(PRETRAINED_ROOT_VARIABLE, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_published_networks(arch):
    with torch.device("meta"):
        backbone = MODELS.build(dict(type="TimmViT", arch=arch))
    count = sum(p.numel() for n, p in backbone.named_parameters() if n != "mask_token")
    assert round(count / 1e6, 2) == ARCHITECTURES[arch]
    registers = 4 if "dinov3" in arch else 0
    assert backbone.num_prefix_tokens == 1 + registers
    eps = 1e-5 if "dinov3" in arch else 1e-6
    assert backbone.norm.eps == backbone.blocks[0].norm1.eps == eps


def test_sizes_of_the_input():
    backbone = build(input_scale=1.1)
    schedule = json.loads((VFM / "schedule.json").read_text())
    for side, expected in schedule["vit_input_size"].items():
        assert 14 * backbone.grid_size(int(side), int(side))[0] == expected
    assert backbone.grid_size(512, 1024) == (40, 80)
    assert backbone.grid_size(3, 3) == (1, 1)
    assert build().grid_size(70, 71) == (5, 6)  # rounded up without a scale


@torch.no_grad()
@pytest.mark.parametrize("arch", KINDS)
def test_any_image_gives_maps_of_its_grid(arch):
    backbone = build(arch, img_size=224, out_indices=(0, 1), input_scale=1.1).eval()
    maps = backbone(torch.randn(2, 3, 40, 75))
    grid = backbone.grid_size(40, 75)
    assert [tuple(x.shape) for x in maps] == [(2, 8, *grid)] * 2
    assert backbone.feature_channels == [8, 8]
    assert backbone.feature_strides == [backbone.patch_size / 1.1] * 2


@torch.no_grad()
def test_maps_are_timms(arch=DINOV2):
    """At a size that needs no resizing, timm's own pass gives the same."""
    import timm

    backbone = build(out_indices=(0, 1)).eval()
    options = dict(embed_dim=8, depth=2, num_heads=2, img_size=42, num_classes=0)
    network = timm.create_model(arch, dynamic_img_size=True, **options).eval()
    state = {k: v for k, v in backbone.state_dict().items() if k != "mask_token"}
    network.load_state_dict(state)
    image = torch.randn(1, 3, 42, 42)
    expected = network.get_intermediate_layers(image, n=(0, 1), reshape=True, norm=True)
    for ours, theirs in zip(backbone(image), expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


@torch.no_grad()
def test_resampled_maps():
    backbone = build(
        out_indices=(0, 0 + 1, 2, 3), arch_options=dict(depth=4), resample=(4, 2, 1, 0.5)
    )
    sizes = [x.shape[-1] for x in backbone(torch.randn(1, 3, 56, 56))]
    assert sizes == [16, 8, 4, 2]
    assert backbone.feature_strides == [3.5, 7, 14, 28]


def test_gradients_reach_everything_that_takes_part():
    backbone = build(arch_options=dict(img_size=56))
    mask = torch.tensor([[True, False, False, True, False, False]])
    backbone(torch.randn(1, 3, 28, 42), mask)[0].square().sum().backward()
    without = [name for name, p in backbone.named_parameters() if p.grad is None]
    assert without == []
    assert backbone.mask_token.grad.abs().sum() > 0


def test_another_network_is_two_other_lines():
    """The page's example, which no config uses, at its full size without its values."""
    page = (ROOT / "docs/backbones.md").read_text(encoding="utf-8")
    example = r'no config uses yet:\n`arch="(\w+)"` and `checkpoint="([\w.]+)"`'
    arch, checkpoint = re.search(example, page).groups()
    places = [ROOT / "configs", ROOT / "mmseg_uda/experiments"]
    used = [path for place in places for path in place.rglob("*.py") if arch in path.read_text()]
    assert used == []
    model = Config.fromfile(ROOT / "configs/_base_/networks/light_dinov2_vitb14.py").model
    model.backbone.arch, model.backbone.init_cfg.checkpoint = arch, checkpoint
    with torch.device("meta"):
        network = MODELS.build(model).eval()
        assert full_logits(network, torch.empty(1, 3, 1024, 512)).shape == (1, 19, 1024, 512)
    given = model.data_preprocessor.mean, model.data_preprocessor.std
    for wanted, values in zip(network.backbone.expected_normalization, given, strict=True):
        assert wanted == pytest.approx(values)


ADAPTERS = [None, dict(type="lora", rank=2), dict(type="soma", rank=2), dict(type="rein", tokens=4)]


@pytest.mark.parametrize("arch", [DINOV2, "vit_small_patch16_dinov3"])
@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda a: a["type"] if a else "whole")
def test_recomputed_gradients_are_equal(arch, adapter):
    gradients = []
    for parts in ((), ("backbone",)):
        torch.manual_seed(0)
        network = vfm_uda_network(8, 2, 2)
        trainable = "adapters" if adapter else "all"
        network["backbone"] = vit(arch, trainable=trainable, adapter=adapter)
        model = MODELS.build(ConfigDict(network)).train()
        model.backbone.init_weights()
        model.backbone.learn_mask_token()
        recompute_activations(model, parts)
        image = torch.randn(2, 3, 32, 32)
        mask = torch.rand(2, math.prod(model.backbone.grid_size(32, 32))) < 0.5
        training_forward(model, image, token_mask=mask).logits[0].logits.square().sum().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    one, other = gradients
    assert "backbone.mask_token" in one and None not in one.values()
    assert one.keys() == other.keys() and max(g.abs().max() for g in one.values()) > 1e-3
    for name, value in one.items():
        assert torch.allclose(value, other[name], atol=1e-6), name


def test_half_precision_is_finite():
    model = MODELS.build(ConfigDict(vfm_uda_network(8, 2, 2))).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = training_forward(model, torch.randn(1, 3, 28, 28)).logits[0].logits
    logits.float().square().mean().backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


def test_frozen():
    backbone = build(trainable="none", drop_path=0.5).train()
    assert not any(module.training for module in backbone.modules())
    assert not any(p.requires_grad for p in backbone.parameters())
    image = torch.randn(1, 3, 28, 28)
    assert not backbone(image)[0].requires_grad
    backbone.learn_mask_token()
    mask = torch.tensor([[True, False, False, True]])
    backbone(image, mask)[0].square().sum().backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is not None] == ["mask_token"]


def test_pretrained_weights_stay(root):
    """mmengine initialises children after their parent, which must not undo the loading."""
    source = build("vit_small_patch14_reg4_dinov2")
    state = {k: v for k, v in source.state_dict().items() if k != "mask_token"}
    save_file(state, root / "tiny.lvd142m.safetensors")
    init_cfg = dict(type="BackboneWeights", checkpoint="tiny.lvd142m")
    network = vfm_uda_network(8, 2, 2)
    network["backbone"] = vit("vit_small_patch14_reg4_dinov2", init_cfg=init_cfg)
    model = MODELS.build(ConfigDict(network))
    model.init_weights()
    for name, value in source.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], value), name


def test_patches_and_positions_of_another_size(root):
    source = build()
    torch.save(source.state_dict(), root / "tiny.pth")
    cfg = dict(type="BackboneWeights", checkpoint="tiny")
    fixed = build(patch_size=16, pos_embed_mode="fixed", fixed_grid=4, init_cfg=cfg)
    fixed.init_weights()
    kernel = torch.nn.functional.interpolate(
        source.patch_embed.proj.weight, (16, 16), mode="bicubic", align_corners=False
    )
    assert torch.equal(fixed.patch_embed.proj.weight, kernel)
    assert fixed.pos_embed.shape == (1, 17, 8)
    assert torch.equal(fixed.pos_embed[:, 0], source.pos_embed[:, 0])
    assert fixed(torch.randn(1, 3, 64, 64))[0].shape == (1, 8, 4, 4)
    flexi = build(patch_size=16, patch_resize="flexi", init_cfg=cfg)
    flexi.init_weights()
    # FlexiViT's kernel answers a patch that was enlarged as the old one answers the patch
    patch = torch.randn(1, 3, 14, 14)
    larger = torch.nn.functional.interpolate(patch, (16, 16), mode="bicubic", antialias=True)
    ours, theirs = (n.patch_embed.proj(p) for n, p in ((flexi, larger), (source, patch)))
    assert torch.allclose(ours, theirs, atol=0.02)
    with pytest.raises(UserError, match="1 shape: pos_embed"):
        build(img_size=56, init_cfg=cfg).init_weights()


@pytest.mark.parametrize(
    ("name", "home"),
    [
        (
            "vit_small_patch14_dinov2.lvd142m",
            "huggingface.co/timm/vit_small_patch14_dinov2.lvd142m",
        ),
        ("dinov2_vitb14_reg4_pretrain", "dinov2_vitb14/dinov2_vitb14_reg4_pretrain.pth"),
    ],
)
def test_offline_error_names_file_and_home(root, monkeypatch, name, home):
    def offline(*args, **kwargs):
        raise ConnectionError

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(UserError) as error:
        build(init_cfg=dict(type="BackboneWeights", checkpoint=name)).init_weights()
    assert str(root / name) in str(error.value)
    assert home in error.value.fix


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (dict(arch="vit_smal_patch14_dinov2"), "vit_smal_patch14_dinov2"),
        (dict(arch="resnet18"), "no plain vision transformer"),
        (dict(input_scale=0), "input_scale=0"),
        (dict(pos_embed_mode="bicubic"), "pos_embed_mode='bicubic'"),
        (dict(pos_embed_mode="fixed"), "fixed_grid=None"),
        (dict(out_indices=(0, 2)), "out_indices=(0, 2)"),
        (dict(out_indices=(1, 0)), "out_indices=(1, 0)"),
        (dict(out_indices=(0, 1), resample=(4, 2, 1)), "resample has 3"),
        (dict(trainable="norms"), "trainable='norms'"),
        (dict(arch_options=dict(widht=3)), "widht"),
        (dict(arch_options=dict(patch_drop_rate=0.5)), "patch_drop_rate=0.5 has no effect"),
    ],
)
def test_refused(changes, told):
    with pytest.raises(UserError) as error:
        MODELS.build({**vit(), **changes})
    assert told in f"{error.value} {error.value.fix}"


def test_images_are_normalised_as_the_weights_ask():
    network = vfm_uda_network(8, 2, 2)
    network["backbone"]["init_cfg"] = dict(type="BackboneWeights", checkpoint="x.lvd142m")
    check_normalization(MODELS.build(ConfigDict(network)))
    network["backbone"]["arch"] = "eva02_base_patch14_224"
    with pytest.raises(UserError, match="mean") as error:
        check_normalization(MODELS.build(ConfigDict(network)))
    assert "[122.771, 116.746, 104.094]" in error.value.fix
    network["backbone"] = vit(
        "vit_large_patch16_dinov3", init_cfg=dict(type="BackboneWeights", checkpoint="x.sat493m")
    )
    with pytest.raises(UserError, match="mean"):
        check_normalization(MODELS.build(ConfigDict(network)))
    del network["backbone"]["init_cfg"]  # without weights everything goes
    check_normalization(MODELS.build(ConfigDict(network)))
