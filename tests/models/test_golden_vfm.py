"""VFM-UDA's network and the three layouts of its encoders' files against the published code."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from vfm import golden, golden_network, published_name, tensors, vfm_uda_network, vit

from mmseg_uda.errors import UserError
from mmseg_uda.models.backbones.positions import resize_positions, split_positions
from mmseg_uda.models.losses import PixelCrossEntropy
from mmseg_uda.models.views import full_logits, training_forward, upsample
from mmseg_uda.models.weights import (
    load_backbone_weights,
    load_segmentor_weights,
    read_checkpoint,
)

CASES = [
    ("dinov2", "vit_small_patch14_dinov2", "original"),
    ("dinov2", "vit_small_patch14_dinov2", "timm"),
    ("dinov2", "vit_small_patch14_dinov2", "hf"),
    ("dinov2_reg4", "vit_small_patch14_reg4_dinov2", "original"),
    ("dinov2_reg4", "vit_small_patch14_reg4_dinov2", "timm"),
    ("dinov2_reg4", "vit_small_patch14_reg4_dinov2", "hf"),
    ("dinov3", "vit_small_patch16_dinov3_qkvb", "original"),
    ("dinov3", "vit_small_patch16_dinov3_qkvb", "timm_qkvb"),
    ("dinov3", "vit_small_patch16_dinov3_qkvb", "hf"),
]


def off(value, expected):
    return np.abs(value.detach().numpy() - expected).max()


@pytest.fixture(scope="module")
def network():
    return golden("network")


@pytest.fixture(scope="module")
def layouts():
    return golden("layouts")


@torch.no_grad()
def test_forward(network):
    model, image = golden_network().eval(), torch.from_numpy(network["image"])
    backbone, head = model.backbone, model.decode_head
    assert backbone.grid_size(64, 64) == (5, 5)
    patches = []
    backbone.patch_embed.register_forward_hook(lambda _, args, out: patches.extend([*args, out]))
    (features,) = backbone(image)
    assert off(patches[0][:, :, ::10, ::10], network["resized"]) < 2e-5
    assert off(patches[1].flatten(1, 2), network["patch_tokens"]) < 2e-5
    before, grid = split_positions(backbone.pos_embed, backbone.embedded_prefix)
    grid = resize_positions(grid, (5, 5), antialias=False).flatten(2).transpose(1, 2)
    assert off(torch.cat([before, grid], dim=1), network["pos_embed_5x5"]) < 2e-5
    assert off(features, network["feats"]) < 2e-5
    upscaled = head.upscale(features)
    assert off(upscaled[:, :, ::4, ::4], network["upscaled"]) < 2e-5
    assert off(head((features,))[:, :, ::4, ::4], network["logits_small"]) < 2e-5
    logits = full_logits(model, image)
    assert logits.shape == (2, 19, 64, 64)
    assert off(logits[:, :, ::8, ::8], network["logits"]) < 2e-5


def test_masked_pass_and_its_gradients(network):
    model, image = golden_network().train(), torch.from_numpy(network["image"])
    mask = torch.from_numpy(network["mask_uniform"]) < 0.7
    assert np.array_equal(mask.numpy(), network["mask"])
    output = training_forward(model, image, token_mask=mask)
    logits = upsample(output.logits[0].logits, (64, 64))
    assert off(output.features[0].features[0], network["masked_feats"]) < 2e-5
    assert off(logits[:, :, ::8, ::8], network["masked_logits"]) < 2e-5
    label, weight = (torch.from_numpy(network[name]) for name in ("label", "weight"))
    loss = PixelCrossEntropy()(logits, label.long(), weight)
    assert loss.item() == pytest.approx(float(network["masked_loss"]), rel=1e-4)
    loss.backward()
    for name, parameter in (
        ("mask_token", model.backbone.mask_token),
        ("pos_embed", model.backbone.pos_embed),
        ("out", model.decode_head.conv_seg.weight),
        ("up0", model.decode_head.upscale[0].weight),
    ):
        assert off(parameter.grad, network[f"grad_{name}"]) < 1e-5, name


def test_no_tokens_masked_equals_no_mask(network):
    model, image = golden_network().train(), torch.from_numpy(network["image"])
    none = torch.zeros(2, 25, dtype=torch.bool)
    assert torch.equal(*(model.backbone(image, mask)[0] for mask in (none, None)))


def loaded(layouts, tmp_path, family, arch, layout, **options):
    path = tmp_path / "encoder.pth"
    torch.save(tensors(layouts, f"{family}/{layout}/"), path)
    backbone = MODELS.build(vit(arch, out_indices=(0, 1), **options)).eval()
    load_backbone_weights(backbone, str(path))
    return backbone


@torch.no_grad()
@pytest.mark.parametrize(("family", "arch", "layout"), CASES)
def test_layouts_load_completely_into_the_same_network(layouts, tmp_path, family, arch, layout):
    image = torch.from_numpy(layouts[f"{family}/image"])
    for final_norm, suffix in ((True, "_norm"), (False, "")):
        backbone = loaded(layouts, tmp_path, family, arch, layout, final_norm=final_norm)
        for index, features in enumerate(backbone(image)):
            assert off(features, layouts[f"{family}/block{index}{suffix}"]) < 1e-6


@torch.no_grad()
@pytest.mark.parametrize(("family", "arch"), [case[:2] for case in CASES[:6:3]])
def test_positions_as_published_and_as_timm(layouts, tmp_path, family, arch):
    image = torch.from_numpy(layouts[f"{family}/image_56x70"])
    key = f"{family}/block1_norm_56x70"
    for mode in ("published", "timm"):
        expected = layouts.get(f"{key}_{mode}_interpolation")
        if expected is None:  # with registers there is one way
            expected = layouts[f"{key}_published_interpolation"]
        backbone = loaded(layouts, tmp_path, family, arch, "original", pos_embed_mode=mode)
        assert off(backbone(image)[1], expected) < 2e-6


def test_biases_are_not_dropped(layouts, tmp_path):
    for layout in ("original", "hf", "timm_qkvb"):
        with pytest.raises(UserError, match="biases of queries and values") as error:
            loaded(layouts, tmp_path, "dinov3", "vit_small_patch16_dinov3", layout)
        assert "vit_small_patch16_dinov3_qkvb" in error.value.fix


@pytest.mark.parametrize("layout", ["original", "timm", "hf"])
@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_a_file_that_does_not_fit_is_refused(layouts, tmp_path, layout, change):
    path = tmp_path / "encoder.pth"
    state = tensors(layouts, f"dinov2/{layout}/")
    victim = next(name for name in state if name.endswith("1.norm2.weight"))
    if change == "missing":
        del state[victim]
    elif change == "unexpected":
        state["blocks.2.norm1.weight"] = torch.ones(8)
    else:
        state[victim] = torch.ones(7)
    torch.save(state, path)
    with pytest.raises(UserError, match=f"1 {change}: blocks"):
        load_backbone_weights(MODELS.build(vit()), str(path))


def test_a_half_of_a_joint_projection_is_missing(layouts, tmp_path):
    path = tmp_path / "encoder.pth"
    state = tensors(layouts, "dinov2/hf/")
    del state["encoder.layer.1.attention.attention.key.weight"]
    torch.save(state, path)
    with pytest.raises(UserError, match=r"1 missing: blocks.1.attn.qkv.weight"):
        load_backbone_weights(MODELS.build(vit()), str(path))


def test_a_file_without_mask_token_is_taken(layouts, tmp_path):
    path = tmp_path / "encoder.pth"
    state = tensors(layouts, "dinov2/original/")
    backbone = MODELS.build(vit())
    torch.save(state, path)
    load_backbone_weights(backbone, str(path))
    assert torch.equal(backbone.mask_token, state.pop("mask_token"))
    torch.save(state, path)
    backbone = MODELS.build(vit())
    load_backbone_weights(backbone, str(path))
    assert torch.equal(backbone.mask_token, torch.zeros(1, 8))


def test_student_and_teacher_of_a_checkpoint(network):
    weights = tensors(network, "w/")
    state = {f"network.{name}": value for name, value in weights.items()}
    state |= {f"network_ema.{name}": value + 1 for name, value in weights.items()}
    state["network_feature_head.0.weight"] = torch.ones(1)
    for part, offset in (("model", 0), ("ema_model", 1)):
        model = MODELS.build(ConfigDict(vfm_uda_network()))
        load_segmentor_weights(model, {"state_dict": state}, part, "golden")
        for name in ("encoder.mask_token", "encoder.blocks.1.ls2.gamma", "out.weight"):
            ours = {published_name(n): p for n, p in model.named_parameters()}[name]
            assert torch.equal(ours, weights[name] + offset)


def test_what_to_do_with_a_pickle_of_lightning(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": SimpleNamespace(a=1)}, path)
    with pytest.raises(UserError, match="SimpleNamespace") as error:
        read_checkpoint(path)
    assert "weights_only=False)['state_dict']}" in error.value.fix
