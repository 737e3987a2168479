import pytest
import torch
from pinned_weights import build_reference, pinned_tensor, reference_case

from mmseg_uda.models.weights import (
    from_reference_names,
    reference_parameter_names,
    to_reference_names,
)

CASES = ("daformer", "hrda_daformer", "segformer", "dlv2")


@pytest.mark.parametrize("case", CASES)
def test_published_weights_round_trip(case):
    model = build_reference(case)
    _, shapes = reference_case(case)
    written = to_reference_names(model, model.state_dict())
    assert {name: list(value.shape) for name, value in written.items()} == shapes
    for name, value in written.items():
        assert torch.equal(value, pinned_tensor(name, shapes[name])), name


def test_own_names_pass_through():
    model = build_reference("daformer")
    state = model.state_dict()
    again = from_reference_names(model, state)
    assert again.keys() == state.keys()


def test_a_backbone_alone():
    backbone = build_reference("daformer").backbone
    written = to_reference_names(backbone, backbone.state_dict())
    assert "block2.1.attn.kv.weight" in written
    backbone.load_state_dict(from_reference_names(backbone, written))


def test_names_that_decide_on_weight_decay():
    names = reference_parameter_names(build_reference("daformer", pinned=False))
    assert names["backbone.layers.2.2.weight"] == "backbone.norm3.weight"
    assert names["backbone.layers.0.1.1.attn.norm.bias"] == "backbone.block1.1.attn.norm.bias"
    joint = "backbone.layers.3.1.0.attn.attn.in_proj_weight"
    assert names[joint] == "backbone.block4.0.attn.qkv.weight"
    assert names["decode_head.conv_seg.weight"] == "decode_head.conv_seg.weight"
    assert len(set(names.values())) == len(names)
