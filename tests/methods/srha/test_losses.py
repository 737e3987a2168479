"""Alignment, consistency, cross-entropy."""

import math

import pytest
import torch
from operations import Operations

from mmseg_uda.errors import UserError
from mmseg_uda.methods.srha import (
    HierarchicalAlignmentLoss,
    RegionsBySize,
    find_regions,
    global_distance,
    js_consistency,
    js_divergence,
    local_distance,
    regional_distance,
)
from mmseg_uda.models.losses import PixelCrossEntropy


def rows(*values):
    """One channel, one row of pixels per map."""
    return torch.tensor(values)[:, None, None, :]


def test_global():
    reference, student = rows([0.0, 2.0]), rows([1.0, 3.0], [4.0, 4.0])
    assert global_distance(student, reference).item() == pytest.approx(5)
    levels = dict.fromkeys((1, 2, 3, 4), student), dict.fromkeys((1, 2, 3, 4), reference)
    loss = HierarchicalAlignmentLoss(levels=("global",))
    regions = RegionsBySize(torch.zeros(1, 1, 2, dtype=torch.int64), 19)
    assert loss(*levels, regions)["global"].item() == pytest.approx(14)


@pytest.mark.parametrize(("ignore_as_region", "expected"), [(True, 1.375), (False, 0.75)])
def test_regional(ignore_as_region, expected):
    label = torch.tensor([[[0, 0, 0, 255]]])
    student = rows([2.0, 2.0, 2.0, 5.0], [1.0, 1.0, 4.0, 9.0])
    regions = find_regions(label, (1, 4), 19, ignore_as_region)
    found = regional_distance(student, rows([1.0, 1.0, 1.0, 5.0]), regions)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def case(seed=0, classes=6, copies=2):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(copies * 3, 5, 8, 9, generator=generator)
    reference = torch.randn(3, 5, 8, 9, generator=generator)
    label = torch.randint(0, classes, (3, 8, 9), generator=generator)
    label[0][label[0] > 2] = 0
    label[1, 3:6] = 255
    label[2] = 255 if seed == 1 else 4
    return student, reference, label


def loop(student, reference, label, classes, ignore_as_region):
    """As the paper defines it."""
    entries = []
    for i, maps in enumerate(student):
        y, theirs = label[i % len(label)], reference[i % len(label)]
        for k in [*range(classes), *([255] if ignore_as_region else [])]:
            if (y == k).any():
                share = (y == k).float().mean()
                difference = maps[:, y == k].mean(1) - theirs[:, y == k].mean(1)
                entries.append(share * difference.square().sum())
    return sum(entries) / (len(entries) * student.shape[1])


@pytest.mark.parametrize("ignore_as_region", [True, False])
@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_regional_equals_a_double_loop(ignore_as_region, copies, seed):
    student, reference, label = case(seed, copies=copies)
    student.requires_grad_()
    regions = find_regions(label, (8, 9), 6, ignore_as_region)
    found = regional_distance(student, reference, regions)
    expected = loop(student, reference, label, 6, ignore_as_region)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    gradients = [torch.autograd.grad(value, student)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_regional_does_not_depend_on_the_numbers_of_classes():
    student, reference, label = case()
    order = torch.tensor([3, 0, 5, 1, 2, 4])
    other = torch.where(label == 255, 255, order[label.clamp(max=5)])
    values = [
        regional_distance(student, reference, find_regions(y, (8, 9), 6)).item()
        for y in (label, other)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_regional_without_any_region_is_0():
    student, reference, label = case()
    student.requires_grad_()
    regions = find_regions(torch.full_like(label, 255), (8, 9), 6, ignore_as_region=False)
    found = regional_distance(student, reference, regions)
    found.backward()
    assert found.item() == 0 and (student.grad == 0).all()


def test_local_counts_every_position():
    student, reference, _ = case()
    expected = (student - torch.cat([reference, reference])).square().mean()
    assert local_distance(student, reference).item() == pytest.approx(expected.item(), rel=1e-6)


def test_alignment_weighs_stages_by_level():
    label = case()[2]
    stages = {k: case(k)[:2] for k in (1, 2, 3, 4)}
    student, reference = ({k: v[i] for k, v in stages.items()} for i in (0, 1))
    regions = RegionsBySize(label, 6)
    loss = HierarchicalAlignmentLoss(
        levels=("local", "global"),
        layers=(2, 4),
        weights=dict(local=(0.5, 0.0), **{"global": (0.0, -1.0)}),
    )
    found = loss(student, reference, regions)
    assert loss.layers == (2,) and list(found) == ["local"]
    expected = 0.5 * local_distance(student[2], reference[2])
    assert found["local"].item() == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(levels=("glob",)), "levels holds 'glob'"),
        (dict(layers=(0, 1), weights=(1, 1)), r"alignment_layers=\(0, 1\)"),
        (dict(layers=(1, 2)), "alignment_weights has 4 numbers for 2 stages"),
        (dict(weights={"global": (1, 1, 1, 1)}), r"weights\.regional has 0 numbers"),
    ],
)
def test_impossible_alignments(options, message):
    with pytest.raises(UserError, match=message):
        HierarchicalAlignmentLoss(**options)


def test_other_types_of_labels_and_maps():
    """Labels of any integer type; float64 is kept, and nothing need be contiguous."""
    student, reference, label = case()
    maps = [x.double().transpose(2, 3).contiguous().transpose(2, 3) for x in (student, reference)]
    for kind in (torch.uint8, torch.int32, torch.int64):
        regions = RegionsBySize(label.to(kind), 6)
        found = HierarchicalAlignmentLoss(layers=(1,), weights=(1,))(
            *({1: x} for x in maps), regions
        )
        twice = torch.cat([maps[1], maps[1]])
        expected = {
            "global": (maps[0].mean((2, 3)) - twice.mean((2, 3))).square().mean(),
            "regional": loop(*maps, label, 6, True),
            "local": (maps[0] - twice).square().mean(),
        }
        for level, value in expected.items():
            assert found[level].dtype == torch.float64
            assert found[level].item() == pytest.approx(value.item(), rel=1e-7), level


def test_no_gradient_reaches_the_reference():
    student, reference, label = case()
    reference.requires_grad_()
    total = sum(
        HierarchicalAlignmentLoss(layers=(1,), weights=(1,))(
            {1: student.requires_grad_()}, {1: reference}, RegionsBySize(label, 6)
        ).values()
    )
    total.backward()
    assert reference.grad is None and student.grad.abs().sum() > 0
    student.grad = None
    regions = find_regions(label, (8, 9), 6)
    (
        global_distance(student, reference)
        + local_distance(student, reference)
        + regional_distance(student, reference, regions)
    ).backward()
    assert reference.grad is None and student.grad.abs().sum() > 0


def logits(*probabilities):
    return torch.tensor(probabilities).log().view(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("p", "q", "expected"),
    [
        ((1.0, 0.0), (0.0, 1.0), math.log(2)),
        ((0.8, 0.2), (0.4, 0.6), 0.0863046 * 1),
        ((0.3, 0.7), (0.3, 0.7), 0.0),
    ],
)
def test_divergence(p, q, expected):
    one, other = logits(*p), logits(*q)
    assert js_divergence(one, other).item() == pytest.approx(expected, abs=1e-6)
    assert js_divergence(other, one).item() == pytest.approx(expected, abs=1e-6)
    both = torch.cat([one, other])
    weighted = js_consistency(lambda rows: both[rows], 1)
    assert weighted.item() == pytest.approx(10 * expected, abs=1e-5)


def test_divergence_agrees_with_the_clamped_form():
    p, q = torch.randn(2, 3, 7, 5, 5, generator=torch.Generator().manual_seed(0)) * 4
    a, b = p.softmax(1), q.softmax(1)
    mean = ((a + b) / 2).clamp(1e-7, 1).log()
    expected = (a * (a.log() - mean) + b * (b.log() - mean)).sum(1) / 2
    assert torch.allclose(js_divergence(p, q), expected, atol=1e-6)
    exact = js_divergence(p.double(), q.double())
    assert exact.dtype == torch.float64 and torch.allclose(exact.float(), expected, atol=1e-6)


def test_divergence_of_certain_predictions_has_finite_gradients():
    p = torch.tensor([60.0, -60.0, 0.0]).view(1, 3, 1, 1).requires_grad_()
    q = torch.tensor([-60.0, 60.0, 60.0]).view(1, 3, 1, 1).requires_grad_()
    js_divergence(p, q).sum().backward()
    assert torch.isfinite(p.grad).all() and torch.isfinite(q.grad).all()
    other = torch.zeros(1, 3, 1, 1, requires_grad=True)
    js_divergence(other, p.detach()).sum().backward()
    assert other.grad.abs().sum() > 0  # both branches learn


def test_consistency_by_image_equals_that_of_the_batch():
    both = torch.randn(6, 4, 5, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = js_consistency(lambda rows: 2 * both[rows], 3)
    expected = 10 * js_divergence(2 * both[:3], 2 * both[3:]).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    gradients = [torch.autograd.grad(value, both)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_consistency_keeps_no_full_predictions():
    """What the backward pass keeps does not grow with the predictions' size."""
    small = torch.randn(4, 19, 8, 8).requires_grad_()
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    def predict(rows):
        return torch.nn.functional.interpolate(small[rows], scale_factor=16)

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        js_consistency(predict, 2)
    assert max(kept, default=0) < 19 * 128 * 128


def test_the_host_reads_nothing():
    student, reference, label = case()
    student.requires_grad_()
    loss = HierarchicalAlignmentLoss(layers=(1,), weights=(1,))
    with Operations() as operations:
        parts = loss({1: student}, {1: reference}, RegionsBySize(label, 6))
        consistency = js_consistency(lambda rows: student[rows], 3)
        torch.stack([*parts.values(), consistency]).sum().backward()
    assert len(operations.sizes) > 50 and operations.waits == []


def test_cross_entropy_of_unlabelled_crops():
    values = torch.randn(2, 4, 3, 3, requires_grad=True)
    loss = PixelCrossEntropy(avg_non_ignore=True)
    nothing = loss(values, torch.full((2, 3, 3), 255))
    nothing.backward()
    assert nothing.item() == 0 and (values.grad == 0).all()
    label = torch.full((2, 3, 3), 255)
    label[0, 0, :2] = torch.tensor([1, 3])
    log_p = values.log_softmax(1)
    expected = -(log_p[0, 1, 0, 0] + log_p[0, 3, 0, 1]) / 2
    assert loss(values, label).item() == pytest.approx(expected.item(), rel=1e-6)
