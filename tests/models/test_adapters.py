"""LoRA, SoMA and Rein against the published numbers, and on every kind of encoder."""

import copy
import json

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from torch import nn
from vfm import VFM, golden, tensors, vit

from mmseg_uda.errors import UserError
from mmseg_uda.models.adapters import AdaptedLinear, LowRankOptions, Rein, ReinOptions
from mmseg_uda.models.adapters.low_rank import singular_components

SHAPES = ("square", "wide", "tall")
ARCHITECTURES = (
    "vit_small_patch14_dinov2",
    "vit_small_patch16_dinov3",
    "vit_small_patch16_dinov3_qkvb",
    "eva02_base_patch14_224",
)


def off(value, expected):
    return np.abs(value.detach().numpy() - np.asarray(expected)).max()


def layer_of(case, kind):
    data = tensors(golden("peft"), f"soma/{case}/")
    layer = nn.Linear(*reversed(data["weight"].shape))
    layer.load_state_dict({name: data[name] for name in ("weight", "bias")})
    options = LowRankOptions(kind, rank=int(data["rank"]), alpha=int(data["alpha"]))
    return AdaptedLinear.adapt(layer, options), data


@pytest.mark.parametrize("case", SHAPES)
def test_soma_starts_from_the_weakest_components(case):
    layer, data = layer_of(case, "soma")
    whole = layer(data["x"])
    layer.start()
    product = layer.lora_B[0] @ layer.lora_A[0]
    rank = layer.lora_A.shape[1]
    assert off(product, data["BA"]) < 1e-5
    assert off(layer.frozen_weight, data["residual"]) < 1e-5
    sigma = data["singular"][-rank:] / layer.scale
    assert off(layer.lora_A[0] @ layer.lora_A[0].T, torch.diag(sigma)) < 1e-5
    assert off(layer.lora_B[0].T @ layer.lora_B[0], torch.diag(sigma)) < 1e-5
    assert off(layer(data["x"]), data["y"]) < 1e-5
    assert off(layer(data["x"]), whole.detach()) < 1e-5
    gone = torch.linalg.svdvals(layer.frozen_weight.detach())
    assert int((gone < 1e-5).sum()) == rank


@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("kind", ["soma", "lora"])
def test_trained_and_merged(case, kind):
    layer, data = layer_of(case, kind)
    layer.start()
    if kind == "lora":
        assert not layer.lora_B.any()
        expected = torch.from_numpy(golden("peft")[f"lora/{case}/y_trained"])
    else:
        expected = data["y_trained"]
    with torch.no_grad():
        layer.lora_A[0].copy_(data["A_trained"])
        layer.lora_B[0].copy_(data["B_trained"])
    assert off(layer(data["x"]), expected) < 2e-5
    merged = layer.merge()
    assert type(merged) is nn.Linear and set(merged.state_dict()) == {"weight", "bias"}
    assert off(merged(data["x"]), expected) < 2e-5
    if kind == "soma":
        assert off(merged.weight, data["merged"]) < 1e-5


def test_the_strongest_components_and_the_released_start():
    weight = torch.randn(6, 4)
    down, up = singular_components(weight, 1, 2.0, "major")
    u, s, vt = torch.linalg.svd(weight)
    assert off(2.0 * up @ down, (s[0] * u[:, :1] @ vt[:1]).numpy()) < 1e-5
    layer = nn.Linear(6, 6)
    weight = layer.weight.detach().clone()
    options = LowRankOptions("soma", rank=2, alpha=2, init_from="released")
    AdaptedLinear.adapt(layer, options).start()
    assert torch.equal(layer.frozen_weight, weight)  # and A, B come from another layer
    assert layer.delta.abs().max() > 0


@torch.no_grad()
@pytest.mark.parametrize("case", ["rein", "rein_lora"])
def test_rein_is_the_published_module(case):
    data = golden("peft")
    weights = tensors(data, f"{case}/w/")
    rank = None if case == "rein" else 4
    module = Rein(3, 16, 16, ReinOptions(tokens=6, rank=rank))
    module.link(8)
    module.load_state_dict(weights)
    assert off(module.queries(), data[f"{case}/queries"]) < 2e-6
    assert off(module.tokens(), data[f"{case}/tokens"]) < 1e-6
    features = torch.from_numpy(data[f"{case}/feats"])
    for block in range(3):
        assert off(module(features, block, 1), data[f"{case}/out_layer{block}"]) < 2e-6


def test_rein_starts_in_the_published_range():
    published = json.loads((VFM / "rein_init.json").read_text())
    module = Rein(24, 1024, 16, ReinOptions())
    assert sum(p.numel() for p in module.parameters()) == 2_990_081 - 459_264  # without queries
    module.link(256)
    bound = published["lora_tokens_bound_L_p16"]
    for name in ("a", "b"):
        tokens = getattr(module, f"learnable_tokens_{name}")
        assert tokens.abs().max().item() == pytest.approx(bound, rel=1e-3)
    counts = published["trainable_params_L"]
    ours = {name: parameter.numel() for name, parameter in module.named_parameters()}
    assert ours == counts
    assert sum(ours.values()) == published["total"] == 2_990_081


@torch.no_grad()
def test_a_query_is_the_maximum_the_mean_and_the_last_block_of_its_token():
    module = Rein(3, 2, 1, ReinOptions(tokens=2, rank=None))
    module.link(2)
    tokens = torch.tensor([[[1.0, 0], [0, 4]], [[5, -3], [2, 2]], [[0, 6], [1, 0]]])
    module.learnable_tokens.copy_(tokens)
    module.transform.weight.copy_(torch.tensor([[1.0, 0], [0, 2]]))
    module.transform.bias.copy_(torch.tensor([0.0, 1]))
    # the first query channel adds the three of channel 0, the second takes 100, 10, 1 of channel 1
    module.merge.weight.copy_(torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 100, 10, 1]]))
    module.merge.bias.zero_()
    # channel 0 of token 0: 1, 5, 0; channel 1: 1, -5, 13; of token 1: 0, 2, 1 and 9, 5, 1
    expected = torch.tensor([[5 + 2 + 0, 1300 + 30 + 13], [2 + 1 + 1, 900 + 50 + 1]]).float()
    assert torch.equal(module.queries(), expected)


def build(arch="vit_small_patch14_dinov2", kind="lora", **options):
    adapter = dict(type=kind, **options)
    return MODELS.build(vit(arch, img_size=224, trainable="adapters", adapter=adapter))


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["lora", "soma", "rein"])
def test_every_encoder_is_adapted_and_nothing_else_trained(arch, kind):
    backbone = build(arch, kind, **(dict(tokens=4) if kind == "rein" else dict(rank=2)))
    image = torch.randn(1, 3, 42, 48)
    plain = MODELS.build(vit(arch, img_size=224))
    plain.load_state_dict({n: backbone.state_dict()[n] for n in plain.state_dict()})
    with torch.no_grad():
        before = plain.eval()(image)[0]
        backbone.init_weights()
        start = backbone.train()(image)[0]
        if kind != "rein":
            assert torch.allclose(start, before, atol=1e-5)
        trained = {n: p for n, p in backbone.named_parameters() if p.requires_grad}
        for parameter in trained.values():
            parameter.add_(torch.randn_like(parameter))
        for name, parameter in trained.items():
            if name.endswith("bias"):
                continue
            before = backbone(image)[0]
            parameter.add_(torch.randn_like(parameter))
            assert not torch.equal(backbone(image)[0], before), name
    assert not any(m.training for m in backbone.modules())
    assert all(".lora_" in n or n.startswith("rein.") or n.endswith("bias") for n in trained)
    backbone(image)[0].square().sum().backward()
    assert {n for n, p in backbone.named_parameters() if p.grad is not None} == set(trained)
    merged = copy.deepcopy(backbone)
    assert merged.merge_adapters() == (kind != "rein")
    assert torch.allclose(merged(image)[0], backbone(image)[0], atol=1e-5)
    if kind != "rein":
        assert merged.state_dict().keys() == plain.state_dict().keys()


def test_published_sizes():
    with torch.device("meta"):
        adapter = dict(type="soma")
        config = dict(type="TimmViT", arch="vit_large_patch14_dinov2")
        backbone = MODELS.build(dict(config, trainable="adapters", adapter=adapter))
    trained = {n: p.numel() for n, p in backbone.named_parameters() if p.requires_grad}
    assert sum(v for n, v in trained.items() if ".lora_" in n) == 4_718_592
    assert sum(v for n, v in trained.items() if n.endswith("bias")) == 147_456
    assert min(int(name.split(".")[1]) for name in trained) == 8


def test_pretrained_weights_come_before_the_components(tmp_path):
    source = MODELS.build(vit())
    torch.save(source.state_dict(), tmp_path / "encoder.pth")
    adapter = dict(type="soma", rank=2, first_block=0)
    init = dict(type="BackboneWeights", checkpoint=str(tmp_path / "encoder.pth"))
    backbone = MODELS.build(vit(trainable="adapters", adapter=adapter, init_cfg=init))
    backbone.init_weights()
    layer = backbone.blocks[1].mlp.fc1
    weight = source.blocks[1].mlp.fc1.weight
    assert torch.allclose(layer.weight, weight, atol=1e-6)
    assert torch.linalg.svdvals(layer.frozen_weight.detach())[-2:].max() < 1e-6


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (dict(adapter=dict(type="lora")), "trainable='all' with adapter"),
        (dict(trainable="adapters"), "adapter=None"),
        (dict(trainable="adapters", adapter=dict(type="sora")), "type='sora'"),
        (dict(trainable="adapters", adapter=dict(type="lora", ranks=3)), "Did you mean"),
        (dict(trainable="adapters", adapter=dict(type="lora", rank=0)), "rank=0"),
        (dict(trainable="adapters", adapter=dict(type="lora", targets=("o",))), "targets="),
        (dict(trainable="adapters", adapter=dict(type="rein", tokens=1)), "1 tokens"),
    ],
)
def test_refused(options, told):
    with pytest.raises(UserError) as error:
        MODELS.build(vit(**options))
    assert told in f"{error.value} {error.value.fix}"
