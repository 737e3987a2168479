"""Regions, styles, mixing weights."""

import pytest
import torch
from operations import Operations

from mmseg_uda.methods.srha import (
    SemanticRearrangement,
    dirichlet_weights,
    find_regions,
    normalize_log_weights,
    rearrange,
)
from mmseg_uda.self_training.random import StepRandom


def row(*values):
    return torch.tensor(values).view(1, 1, 1, -1)


def mixing(*rows):
    """(1, 3, 3): rows of the two classes; the bin of unlabelled pixels keeps its own style."""
    weights = torch.eye(3)
    weights[:2, :2] = torch.tensor(rows)
    return weights[None]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (((0.0, 1.0), (1.0, 0.0)), [10.0, 14.0, 1.0, 3.0]),
        (((0.25, 0.75), (0.0, 1.0)), [7.75, 11.25, 10.0, 14.0]),
        (((1.0, 0.0), (0.0, 1.0)), [1.0, 3.0, 10.0, 14.0]),
    ],
)
def test_styles_are_exchanged(rows, expected):
    label = torch.tensor([[[0, 0, 1, 1]]])
    module = SemanticRearrangement(2)
    styled, weights, present = module(row(1.0, 3.0, 10.0, 14.0), label, mixing(*rows))
    torch.testing.assert_close(styled, row(*expected), rtol=0, atol=1e-5)
    assert torch.equal(weights, mixing(*rows)) and present.tolist() == [[True, True, False]]


def reference(h, label, weights, num_classes, ignore_as_region=True):
    """The definition, region by region."""
    result = h.clone()
    for b, (x, y) in enumerate(zip(h, label, strict=True)):
        ids = [k for k in [*range(num_classes), 255] if (y == k).any()]
        ids = [k for k in ids if k != 255 or ignore_as_region]
        bins = [num_classes if k == 255 else k for k in ids]
        mean = torch.stack([x[:, y == k].mean(1) for k in ids])
        std = torch.stack([x[:, y == k].std(1, correction=0) for k in ids]) + 1e-7
        for i, k in enumerate(ids):
            w = weights[b, bins[i], bins][:, None]
            part = (x[:, y == k] - mean[i][:, None]) / std[i][:, None]
            new = part * (w * std).sum(0)[:, None] + (w * mean).sum(0)[:, None]
            result[b][:, y == k] = new
    return result


def random_case(seed=0, classes=4):
    generator = torch.Generator().manual_seed(seed)
    h = torch.randn(3, 5, 6, 7, generator=generator) * 3 + 1
    label = torch.randint(0, classes, (3, 6, 7), generator=generator)
    label[0][label[0] == 1] = 0  # a class that one image lacks
    label[1, :2] = 255
    label[2] = 3  # one region only
    return h, label


@pytest.mark.parametrize("ignore_as_region", [True, False])
def test_equals_the_definition(ignore_as_region):
    h, label = random_case()
    regions = find_regions(label, (6, 7), 4, ignore_as_region)
    weights = dirichlet_weights(regions.present, 0.7, torch.Generator().manual_seed(1))
    styled = rearrange(h, regions, weights)
    expected = reference(h, label, weights, 4, ignore_as_region)
    torch.testing.assert_close(styled, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(styled[2], h[2], rtol=1e-4, atol=1e-4)  # one region: itself
    unlabelled = label[1] == 255
    assert torch.equal(styled[1][:, unlabelled], h[1][:, unlabelled]) != ignore_as_region


def test_the_result_has_no_gradient():
    h, label = random_case()
    module = SemanticRearrangement(4)
    styled, *_ = module(h.requires_grad_(), label)
    assert not styled.requires_grad


def test_a_region_of_one_pixel_gets_exactly_the_mixed_mean():
    h, label = row(7.3, 1.0, 2.0, 4.5), torch.tensor([[[0, 1, 1, 1]]])
    weights = mixing((0.0, 1.0), (0.5, 0.5))
    styled, *_ = SemanticRearrangement(2)(h, label, weights)
    assert styled[..., 0].item() == find_regions(label, (1, 4), 2).means(h)[0, 0, 1].item() == 2.5


@pytest.mark.parametrize("n", [3, 7, 11, 100, 1000])
def test_a_constant_region_gets_the_mixed_mean(n):
    """The rounding of its mean is no deviation: black padding, whose features are all equal."""
    generator = torch.Generator().manual_seed(n)
    constant = torch.rand(1, 16, 1, 1, generator=generator).expand(1, 16, 1, n)
    varied = torch.randn(1, 16, 1, n, generator=generator) * 3 + 1
    h = torch.cat([constant, varied], dim=3)
    label = torch.cat([torch.full((1, 1, n), 255), torch.ones(1, 1, n, dtype=torch.int64)], dim=2)
    weights = torch.eye(3)[[0, 2, 1]][None]  # class 1 and the unlabelled pixels change places
    styled, *_ = SemanticRearrangement(2)(h, label, weights)
    mean = varied.double().mean(3, keepdim=True).float().expand_as(constant)
    torch.testing.assert_close(styled[..., :n], mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(styled[..., n:], constant, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("label_type", [torch.uint8, torch.int16, torch.int32])
def test_labels_of_any_integer_type(label_type):
    h, label = random_case()
    h, label = h.transpose(2, 3).contiguous().transpose(2, 3), label.transpose(1, 2)
    label = label.contiguous().transpose(1, 2)  # neither is contiguous
    weights = dirichlet_weights(find_regions(label, (6, 7), 4).present, 0.7)
    expected, *_ = SemanticRearrangement(4)(h, label, weights)
    for maps in (h, h.double()):
        found, _, present = SemanticRearrangement(4)(maps, label.to(label_type), weights)
        assert found.dtype == maps.dtype and present.dtype == torch.bool
        torch.testing.assert_close(found.float(), expected, rtol=1e-5, atol=1e-5)


def test_double_precision_is_kept():
    h, label = random_case()
    weights = dirichlet_weights(find_regions(label, (6, 7), 4).present, 0.7).double()
    styled, *_ = SemanticRearrangement(4)(h.double(), label, weights)
    expected = reference(h.double(), label, weights, 4)
    torch.testing.assert_close(styled, expected, rtol=1e-12, atol=1e-12)


def test_maps_of_integers_are_not_truncated():
    label = torch.tensor([[[0, 0, 1, 1]]])
    weights = mixing((0.25, 0.75), (0.0, 1.0))
    styled, *_ = SemanticRearrangement(2)(row(1, 3, 10, 14), label, weights)
    torch.testing.assert_close(styled, row(7.75, 11.25, 10.0, 14.0), rtol=0, atol=1e-5)


def test_a_channel_of_zeros_stays_finite():
    h, label = random_case()
    h[:, 2] = 0
    styled, *_ = SemanticRearrangement(4)(h, label)
    assert torch.isfinite(styled).all() and (styled[:, 2] == 0).all()


def test_half_precision_is_computed_in_float32():
    h, label = random_case()
    weights = dirichlet_weights(find_regions(label, (6, 7), 4).present)
    h = h.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        styled, *_ = SemanticRearrangement(4)(h, label, weights)
    exact, *_ = SemanticRearrangement(4)(h.float(), label, weights)
    assert torch.equal(styled, exact.bfloat16())


@pytest.mark.parametrize(("size", "small", "picks"), [(8, 2, [0, 4]), (768, 192, range(0, 768, 4))])
def test_labels_are_reduced_by_their_upper_left_pixels(size, small, picks):
    label = torch.arange(size).expand(1, size, size)
    ids = find_regions(label, (small, small), size).ids
    assert ids[0, 0].tolist() == list(picks)


def test_values_that_are_no_class_are_unlabelled():
    regions = find_regions(torch.tensor([[[0, 255, -1, 2]]]), (1, 4), 2)
    assert regions.ids.tolist() == [[[0, 2, 2, 2]]] and regions.counts.tolist() == [[1, 0, 3]]
    without = find_regions(torch.tensor([[[0, 255, -1, 2]]]), (1, 4), 2, ignore_as_region=False)
    assert without.present.tolist() == [[True, False, False]]


def presence(n, batch):
    """20 bins of which n, every other one at first, are present."""
    order = [*range(0, 20, 2), *range(1, 20, 2)]
    mask = torch.zeros(batch, 20, dtype=torch.bool)
    mask[:, order[:n]] = True
    return mask


@pytest.mark.parametrize(
    ("n", "variance", "largest"),
    [(2, 0.24242, 0.990), (3, 0.21227, None), (5, 0.14841, 0.960), (10, 0.07784, 0.914)],
)
def test_weights_are_dirichlet_distributed(n, variance, largest):
    present = presence(n, 4000)
    weights = dirichlet_weights(present, 1 / 64, torch.Generator().manual_seed(0))
    assert torch.isfinite(weights).all() and weights.min() >= 0
    assert (weights.permute(0, 2, 1)[~present] == 0).all()
    torch.testing.assert_close(weights.sum(2), torch.ones(4000, 20))
    among = weights[:, present[0]][:, :, present[0]].double()
    assert among.mean().item() == pytest.approx(1 / n, rel=1e-6)
    assert among.mean((0, 1)).sub(1 / n).abs().max() < 0.03
    assert among.var().item() == pytest.approx(variance, rel=0.03)
    if largest:
        assert among.amax(2).mean().item() == pytest.approx(largest, abs=0.01)


@pytest.mark.parametrize("concentration", [1e-4, 0.0156, 1.0, 4.0, 1e4])
def test_no_concentration_underflows(concentration):
    present = presence(3, 1000)
    weights = dirichlet_weights(present, concentration, torch.Generator().manual_seed(0))
    torch.testing.assert_close(weights.sum(2), torch.ones(1000, 20))
    if concentration == 1e4:
        assert weights[..., 0].sub(1 / 3).abs().max() < 0.02
    if concentration == 1e-4:  # float32 gamma variates would all be 0
        assert weights.amax(2).mean() > 0.998 and len(weights.argmax(2).unique()) == 3


def test_weights_without_any_region():
    weights = dirichlet_weights(torch.zeros(1, 4, dtype=torch.bool))
    assert (weights == 0).all()


def test_variates_of_0_give_equal_weights():
    """Among the present donors, and never to an absent one."""
    present = torch.tensor([[1, 0, 1]])  # a number is as good as a bool
    weights = normalize_log_weights(torch.full((1, 3, 3), -torch.inf), present)
    assert weights.tolist() == [[[0.5, 0.0, 0.5]] * 3]
    drawn = dirichlet_weights(present, 1e-40, torch.Generator().manual_seed(0))
    assert drawn.sum(2).tolist() == [[1.0] * 3] and (drawn[..., 1] == 0).all()


def test_weights_come_from_the_steps_numbers():
    present = presence(5, 2)
    draws = []
    for seed, rank, step in [(1, 0, 3), (1, 0, 3), (1, 1, 3), (1, 0, 4), (2, 0, 3)]:
        random = StepRandom(seed, rank)
        random.begin_step(step)
        drawn = random.log_gamma(0.0156, (2, 20, 20), present.device)
        draws.append(normalize_log_weights(drawn, present))
    assert torch.equal(draws[0], draws[1])
    assert not any(torch.equal(draws[0], other) for other in draws[2:])


def test_the_host_reads_nothing():
    h, label = random_case()
    module = SemanticRearrangement(4)
    with Operations() as operations:
        module(h, label)
    assert len(operations.sizes) > 20 and operations.waits == []


def test_operations_do_not_grow_with_the_number_of_regions():
    counts = []
    for classes in (2, 19):
        _, label = random_case(classes=classes)
        with Operations() as operations:
            SemanticRearrangement(19)(torch.randn(3, 5, 6, 7), label)
        counts.append(len(operations.sizes))
    assert counts[0] == counts[1]
