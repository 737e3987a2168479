"""Recomputed activations: the same step, less memory."""

import copy
import math

import pytest
import torch
from mmseg.registry import MODELS
from small import daformer_head, hrda, segmentor
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg_uda.errors import UserError
from mmseg_uda.models import recompute
from mmseg_uda.models.recompute import decoders, encoder_blocks, recompute_activations
from mmseg_uda.models.views import training_forward

BOTH = ("backbone", "decode_head")
RESNET = dict(
    type="ResNetV1c",
    depth=18,
    stem_channels=8,
    base_channels=8,
    strides=(1, 2, 1, 1),
    dilations=(1, 1, 2, 4),
    contract_dilation=True,
    norm_cfg=dict(type="BN"),
)
MIT = dict(type="MiT", variant="b0", embed_dims=8, drop_path_rate=0.5, drop_rate=0.2)


def with_backbone(backbone, channels):
    network = segmentor(dict(daformer_head(dropout_ratio=0.5), in_channels=channels))
    network.backbone = MODELS.build(backbone)
    return network


NETWORKS = {
    "nano": lambda: segmentor(daformer_head(dropout_ratio=0.5)),
    "mit": lambda: with_backbone(MIT, [8, 16, 40, 64]),
    "resnet": lambda: with_backbone(RESNET, [8, 16, 32, 64]),
    "hrda": lambda: hrda(daformer_head(dropout_ratio=0.5)),
}


@pytest.fixture(params=NETWORKS)
def networks(request):
    torch.manual_seed(0)
    plain = NETWORKS[request.param]().train()
    recomputed = copy.deepcopy(plain)
    recompute_activations(recomputed, BOTH)
    return plain, recomputed


def step(network, amp=False):
    """Losses of two forward passes; returns them with the generator's state afterwards."""
    torch.manual_seed(1)
    network.zero_grad()
    total = 0.0
    for _ in range(2):
        image = torch.randn(2, 3, 64, 64)
        with torch.autocast("cpu", torch.bfloat16, enabled=amp):
            output = training_forward(network, image, lambda rows, columns: (0, 1))
        loss = sum(view.logits.float().square().mean() for view in output.logits)
        loss.backward()
        total += loss.item()
    return total, torch.get_rng_state()


@pytest.mark.parametrize("amp", [False, True])
def test_losses_gradients_statistics_and_draws_are_the_same(networks, amp):
    plain, recomputed = networks
    (loss, random), (other_loss, other_random) = step(plain, amp), step(recomputed, amp)
    assert loss == other_loss
    assert torch.equal(random, other_random)
    for (name, a), b in zip(plain.named_parameters(), recomputed.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    state, other = plain.state_dict(), recomputed.state_dict()
    assert state.keys() == other.keys()
    for name in state:
        assert torch.equal(state[name], other[name]), name
    tracked = [v for n, v in other.items() if n.endswith("num_batches_tracked")]
    assert tracked and all(count in (2, 4) for count in tracked)  # HRDA decodes twice per pass


class Storages(TorchDispatchMode):
    """Watches the memory that operators allocate; views of parameters are none."""

    def __init__(self, network):
        super().__init__()
        self.seen = {}
        self.own = {x.untyped_storage().data_ptr() for x in network.state_dict().values()}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.seen[storage.data_ptr()] = (StorageWeakRef(storage), storage.nbytes())
        return result

    def alive(self):
        """Bytes that are still in use."""
        return sum(
            size
            for place, (reference, size) in self.seen.items()
            if place not in self.own and not reference.expired()
        )


def kept(network):
    with Storages(network) as storages:
        output = training_forward(network, torch.randn(2, 3, 64, 64), lambda *_: (0, 1))
    held = storages.alive()
    del output
    return held


def test_less_is_kept(networks):
    plain, recomputed = networks
    assert kept(recomputed) < 0.6 * kept(plain)


def test_nothing_is_recomputed_without_gradients(networks):
    _, recomputed = networks
    calls = []
    block = encoder_blocks(recomputed.backbone)[0]
    block.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        recomputed.extract_feat(torch.randn(1, 3, 64, 64))
    assert len(calls) == 1


def test_a_copy_uses_its_own_parameters(networks):
    _, recomputed = networks
    twin = copy.deepcopy(recomputed).eval()
    recomputed.eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = twin.encode_decode(image, [])
        for parameter in recomputed.parameters():
            parameter.zero_()
        assert torch.equal(twin.encode_decode(image, []), before)


@pytest.mark.parametrize(
    "config, count, kind",
    [
        (dict(type="NanoBackbone"), 4, "NanoStage"),
        (MIT, 8, "TransformerEncoderLayer"),
        (dict(RESNET, depth=50), 16, "Bottleneck"),
        (dict(type="SwinTransformer", embed_dims=12), 12, "SwinBlock"),
    ],
)
def test_blocks_of_encoders(config, count, kind):
    blocks = encoder_blocks(MODELS.build(config))
    assert [type(block).__name__ for block in blocks] == [kind] * count


def test_the_option_of_mmseg_counts_no_batch_twice():
    mit = MODELS.build(dict(MIT, with_cp=True))
    assert {type(b).__name__ for b in encoder_blocks(mit)} == {"RecomputedTransformerEncoderLayer"}
    network = with_backbone(dict(RESNET, with_cp=True), [8, 16, 32, 64]).train()
    recompute_activations(network, ["backbone"])
    step(network)
    norm = network.backbone.layer1[0].bn1
    assert int(norm.num_batches_tracked) == 2


def test_decoders_of_hrda():
    network = hrda(daformer_head())
    assert decoders(network) == [network.decode_head.head, network.decode_head.scale_attention]
    fixed = hrda(daformer_head(), head_options=dict(fixed_attention=0.5))
    assert decoders(fixed) == [fixed.decode_head.head]


def test_unknown_parts_and_encoders_without_blocks_are_named():
    network = segmentor()
    with pytest.raises(UserError, match="'neck' is unknown"):
        recompute_activations(network, ["neck"])
    network.backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    with pytest.raises(UserError, match="Sequential is not made of repeated blocks"):
        recompute_activations(network, ["backbone"])


@pytest.fixture
def separable(monkeypatch):
    """DAFormer with its published fusion, whose maps count as large ones."""
    monkeypatch.setattr(recompute, "LARGE", 0)
    torch.manual_seed(0)
    fusion = dict(
        type="aspp",
        sep=True,
        dilations=(1, 2, 3),
        norm_cfg=dict(type="BN"),
        act_cfg=dict(type="ReLU"),
    )
    return segmentor(daformer_head(fusion, dropout_ratio=0.5)).train()


@pytest.mark.parametrize("amp", [False, True])
def test_normalised_maps_are_had_again(separable, monkeypatch, amp):
    plain = copy.deepcopy(separable)
    loss, _ = step(separable, amp)
    monkeypatch.setattr(recompute, "LARGE", math.inf)
    other_loss, _ = step(plain, amp)
    assert loss == other_loss
    for (name, a), b in zip(separable.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    for (name, a), b in zip(separable.named_buffers(), plain.buffers(), strict=True):
        assert torch.equal(a, b), name


def test_one_map_of_a_separable_branch_is_kept(separable, monkeypatch):
    less = kept(separable)
    monkeypatch.setattr(recompute, "LARGE", math.inf)
    more = kept(separable)
    joined = sum(layer.proj.out_features for layer in separable.decode_head.embed_layers.values())
    of_one_map = 2 * joined * 16 * 16 * 4  # bytes, of two images
    assert more - less == pytest.approx(2 * of_one_map, rel=0.02)


def test_a_recomputed_decoder_keeps_none_of_them(separable, monkeypatch):
    recompute_activations(separable, ["decode_head"])
    less = kept(separable)
    monkeypatch.setattr(recompute, "LARGE", math.inf)
    assert kept(separable) == less
