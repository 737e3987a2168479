"""Rein's tokens as Mask2Former's queries."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.registry import MODELS
from vfm import vfm_uda_network, vit

from mmseg_uda.engine.supervised import Supervised
from mmseg_uda.errors import UserError
from mmseg_uda.models.recompute import recompute_activations
from mmseg_uda.models.views import full_logits, segmentation_loss, training_forward

IMAGE = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
LABEL = torch.randint(0, 3, (2, 64, 64), generator=torch.Generator().manual_seed(2))


def config(num_queries=6, **adapter):
    backbone = vit(
        out_indices=(0, 1, 2, 3),
        final_norm=False,
        resample=(4, 2, 1, 0.5),
        trainable="adapters",
        adapter=dict(type="rein", tokens=6, rank=2, **adapter),
        arch_options=dict(depth=4),
    )
    head = dict(
        type="TorchMask2FormerHead",
        in_channels=[8, 8, 8, 8],
        feature_strides=(4, 8, 16, 32),
        channels=32,
        mask_channels=16,
        num_queries=num_queries,
        encoder_layers=1,
        decoder_layers=1,
        num_heads=2,
        encoder_ffn=32,
        decoder_ffn=32,
        num_classes=3,
        align_corners=False,
        loss_decode=dict(num_points=64),
    )
    return ConfigDict(
        type="SlideEncoderDecoder",
        backbone=backbone,
        decode_head=head,
        train_cfg=dict(),
        test_cfg=dict(mode="whole"),
    )


def build(**adapter):
    torch.manual_seed(0)
    return MODELS.build(config(**adapter))


@torch.no_grad()
def test_the_decoder_gets_the_queries_of_the_tokens():
    linked, plain = build(), build(link_queries=False)
    assert plain.backbone.rein.merge is None
    queries = linked.backbone.rein.queries()
    assert queries.shape == plain.decode_head.transformer.queries_embedder.weight.shape
    state = linked.state_dict()
    own = {"backbone.rein." + name for name in linked.backbone.rein.state_dict()}
    assert {"backbone.rein.merge.weight", "backbone.rein.transform.bias"} < own
    assert "decode_head.transformer.queries_embedder.weight" not in state  # it takes their place
    state["decode_head.transformer.queries_embedder.weight"] = queries
    plain.load_state_dict({k: v for k, v in state.items() if k in plain.state_dict()})
    expected = full_logits(plain.eval(), IMAGE)
    assert torch.equal(full_logits(linked.eval(), IMAGE), expected)
    linked.backbone.rein.merge.bias.add_(1.0)
    assert not torch.allclose(full_logits(linked, IMAGE), expected, atol=1e-3)


def gradients(recompute=()):
    # with a scale of 0 the queries alone lead to the tokens
    model = build(scale=0.0).train()
    recompute_activations(model, recompute)
    torch.manual_seed(0)
    losses = segmentation_loss(model, training_forward(model, IMAGE), LABEL)
    sum(value for name, value in losses.items() if "loss" in name).backward()
    return {name: p.grad for name, p in model.backbone.rein.named_parameters()}


def test_the_loss_trains_tokens_through_the_queries():
    found = gradients()
    for name in ("transform.weight", "merge.weight", "learnable_tokens_a", "learnable_tokens_b"):
        assert found[name].abs().sum() > 0
    assert not found["mlp_delta_f.weight"].any()
    again = gradients(("backbone", "decode_head"))
    torch.testing.assert_close(again, found, rtol=1e-5, atol=1e-7)


@torch.no_grad()
def test_a_copy_reads_its_own_tokens():
    model = build().eval()
    teacher = copy.deepcopy(model)
    before = full_logits(teacher, IMAGE)
    model.backbone.rein.merge.bias.add_(1.0)
    assert torch.equal(full_logits(teacher, IMAGE), before)
    teacher.load_state_dict(model.state_dict())
    assert torch.equal(full_logits(teacher, IMAGE), full_logits(model, IMAGE))


def test_what_cannot_be_linked_is_refused():
    with pytest.raises(UserError, match=r"adapter.tokens=6, and the decoder has 5 queries"):
        MODELS.build(config(num_queries=5))
    pixels = ConfigDict(vfm_uda_network(8, 2, 2))
    pixels.backbone |= dict(trainable="adapters", adapter=dict(type="rein", tokens=4))
    assert MODELS.build(copy.deepcopy(pixels)).backbone.rein.merge is None
    pixels.backbone.adapter.link_queries = True
    with pytest.raises(UserError, match="LightHead in a SlideEncoderDecoder takes no queries"):
        MODELS.build(copy.deepcopy(pixels))
    plain = config(link_queries=True)
    plain.type = "EncoderDecoder"
    with pytest.raises(UserError, match="TorchMask2FormerHead in a EncoderDecoder takes no"):
        Supervised(plain)
