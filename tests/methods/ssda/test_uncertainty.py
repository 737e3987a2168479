"""The divergence of several predictions, streamed, and dropout moved into the weights."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_uda.methods.ssda import entropy, jensen_shannon, masked_logits


def pixel(*probabilities):
    return torch.tensor(probabilities).view(1, -1, 1, 1)


def random_maps(count, classes=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.softmax(3 * torch.randn(2, classes, 4, 5, generator=generator), dim=1)
        for _ in range(count)
    ]


def test_entropy():
    assert entropy(torch.full((1, 19, 1, 1), 1 / 19)).item() == pytest.approx(4.2479275, abs=1e-6)
    assert entropy(pixel(0.0, 1.0)).item() == 0.0


@pytest.mark.parametrize(
    ("maps", "bits"),
    [
        ([(0.75, 0.25), (0.25, 0.75)], 0.1887219),
        ([(0.7, 0.2, 0.1), (0.1, 0.8, 0.1)], 0.3216102),
        ([(1.0, 0.0), (0.0, 1.0)], 1.0),
        ([(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)], 1.5849625),
    ],
)
def test_values(maps, bits):
    divergence = jensen_shannon([pixel(*p) for p in maps])
    assert divergence.item() == pytest.approx(bits, abs=1e-6)


def test_two_identical_maps_agree_exactly():
    (one,) = random_maps(1)
    divergence = jensen_shannon([one, one])
    assert torch.equal(divergence, torch.zeros_like(divergence))
    assert not torch.signbit(divergence).any()  # a negative zero would sort last
    assert jensen_shannon([one] * 3).max() <= 1e-6


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_streaming_equals_the_list(count):
    maps = random_maps(count)
    stacked = torch.stack(maps).double()

    def bits(p):
        return -(p * torch.log2(p + 1e-30)).sum(dim=-3)

    expected = bits(stacked.mean(0)) - bits(stacked).mean(0)
    divergence = jensen_shannon(iter(maps))
    assert torch.allclose(divergence.double(), expected, atol=1e-6)
    assert divergence.max() <= math.log2(count) + 1e-6
    if count == 1:
        assert torch.equal(divergence, torch.zeros_like(divergence))


def test_order_does_not_matter():
    maps = random_maps(4)
    assert torch.allclose(jensen_shannon(maps), jensen_shannon(maps[::-1]), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_maps_are_widened(dtype):
    maps = [p.to(dtype) for p in random_maps(3)]
    found, expected = jensen_shannon(maps), jensen_shannon([p.float() for p in maps])
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    assert torch.equal(entropy(maps[0]), entropy(maps[0].float()))
    assert jensen_shannon([p.double() for p in maps]).dtype == torch.float64


def test_nothing_to_compare():
    with pytest.raises(ValueError, match="at least one"):
        jensen_shannon([])


def test_gradient_is_finite_at_one_hot_predictions():
    logits = torch.tensor([200.0, -200.0, 0.0]).view(1, 3, 1, 1).requires_grad_()
    other = torch.zeros(1, 3, 1, 1, requires_grad=True)
    jensen_shannon([logits.softmax(1), other.softmax(1)]).sum().backward()
    assert torch.isfinite(logits.grad).all() and torch.isfinite(other.grad).all()
    assert other.grad.abs().sum() > 0


def classifiers(kind):
    torch.manual_seed(0)
    if kind == "1x1":
        return [nn.Conv2d(16, 5, 1)]
    return [nn.Conv2d(16, 5, 3, padding=d, dilation=d) for d in (6, 12)]


@pytest.mark.parametrize("kind", ["1x1", "dilated"])
def test_masking_weights_equals_masking_features(kind):
    convolutions = classifiers(kind)
    features = torch.randn(3, 16, 9, 10)
    masks = (torch.rand(4, 16) >= 0.3).float() / 0.7
    stacked = masked_logits(features, convolutions, masks).chunk(4, dim=1)
    for mask, logits in zip(masks, stacked, strict=True):
        dropped = features * mask.view(1, -1, 1, 1)
        expected = sum(conv(dropped) for conv in convolutions)
        assert torch.allclose(logits, expected, atol=1e-5)


def test_masks_are_those_of_channel_dropout():
    """A pass under torch's Dropout2d is a pass under the mask that it drew."""
    (conv,) = classifiers("1x1")
    features = torch.rand(1, 16, 6, 6) + 0.5
    dropped = F.dropout2d(features, 0.4, training=True)
    mask = (dropped / features)[0, :, 0, 0]
    assert torch.allclose(masked_logits(features, [conv], mask[None]), conv(dropped), atol=1e-5)


def test_masks_of_ones_agree():
    convolutions = classifiers("dilated")
    logits = masked_logits(torch.randn(2, 16, 8, 8), convolutions, torch.ones(5, 16))
    maps = [part.softmax(1) for part in logits.chunk(5, dim=1)]
    assert jensen_shannon(maps).max() <= 1e-6


def test_only_plain_convolutions_are_stacked():
    grouped = nn.Conv2d(16, 4, 1, groups=2)
    with pytest.raises(ValueError, match="ungrouped"):
        masked_logits(torch.randn(1, 16, 2, 2), [grouped], torch.ones(2, 16))
