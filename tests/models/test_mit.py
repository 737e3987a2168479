import pytest
import torch
from mmseg.models.backbones.mit import EfficientMultiheadAttention
from torch import nn

from mmseg_uda.errors import UserError
from mmseg_uda.models.backbones import FusedAttention, MiT


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("variant", "parameters"), [("b3", 44_072_128), ("b4", 60_842_688), ("b5", 81_443_008)]
)
def test_parameter_counts(variant, parameters):
    with torch.device("meta"):
        assert count(MiT(variant)) == parameters


def test_layer_norm_epsilons():
    wrong = []
    for name, module in MiT("b0").named_modules():
        if isinstance(module, nn.LayerNorm):
            embedding = name.split(".")[2:3] == ["0"]
            after_reduction = name.endswith("attn.norm")
            if module.eps != (1e-5 if embedding or after_reduction else 1e-6):
                wrong.append(name)
    assert wrong == []


@pytest.mark.parametrize("sr_ratio", [1, 2])
def test_fused_attention_equals_mmseg(sr_ratio):
    original = EfficientMultiheadAttention(32, 4, qkv_bias=True, sr_ratio=sr_ratio).eval()
    tokens, identity = torch.randn(2, 2, 48, 32)
    expected = original(tokens, (6, 8), identity)
    fused = FusedAttention(original)
    assert torch.allclose(fused(tokens, (6, 8), identity), expected, atol=1e-6)


def test_attention_weights_are_never_computed(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("unfused attention")

    monkeypatch.setattr(nn.MultiheadAttention, "forward", fail)
    assert MiT("b0")(torch.randn(1, 3, 64, 96))[-1].shape == (1, 256, 2, 3)


def test_drop_path_grows_linearly_to_the_given_rate():
    model = MiT("b0", drop_path_rate=0.7)
    rates = [block.ffn.dropout_layer.drop_prob for stage in model.layers for block in stage[1]]
    assert rates == pytest.approx([0.1 * i for i in range(8)])


def test_outputs_at_four_strides():
    shapes = [tuple(x.shape) for x in MiT("b0")(torch.randn(2, 3, 64, 128))]
    assert shapes == [(2, 32, 16, 32), (2, 64, 8, 16), (2, 160, 4, 8), (2, 256, 2, 4)]


def test_recomputation_gives_the_same_gradients():
    plain, recomputed = MiT("b0", drop_path_rate=0), MiT("b0", drop_path_rate=0, with_cp=True)
    recomputed.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, 32, 32)
    for model in (plain, recomputed):
        model(image)[-1].square().sum().backward()
    for a, b in zip(plain.parameters(), recomputed.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-5)


def test_initialisation_without_pretraining():
    model = MiT("b0")
    model.init_weights()
    block = model.layers[3][1][0]
    for weight in (block.attn.attn.in_proj_weight, block.ffn.layers[0].weight):
        assert weight.std().item() == pytest.approx(0.02, rel=0.05)
    patch = model.layers[0][0].projection
    assert patch.weight.std().item() == pytest.approx((2 / (49 * 32)) ** 0.5, rel=0.1)


def test_unknown_variant_is_named():
    with pytest.raises(UserError, match="b7"):
        MiT("b7")
