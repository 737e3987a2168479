"""Soft labels, their loss and its trigger."""

import pytest
import torch

from mmseg_uda.methods.cdda import (
    class_probability,
    decide,
    depth_bins,
    depth_histogram,
    guidance_loss,
    missing_classes,
    overlaps,
    soft_label,
    triggered,
)
from mmseg_uda.methods.cdda.histogram import whole_bins
from mmseg_uda.methods.cdda.search import Match

LABEL = torch.tensor([[[0, 1], [0, 1]]])
BINS = torch.tensor([[[10, 30], [40, 10]]])
LOGITS = torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, 0, 0], [1, 1, 0]]).t().reshape(1, 3, 2, 2)
SHARE = torch.tensor([0.5])


@pytest.fixture
def table(counts):
    bank = counts({0: {10: 3}, 1: {10: 1}, 2: {10: 4, 30: 5}})[None]
    missing = missing_classes(bank, counts({0: {10: 2}, 1: {10: 2}})[None])
    assert missing.tolist() == [[False, False, True]]
    return class_probability(bank, missing)


def test_probability_of_the_missing_class(table):
    expected = torch.zeros(1, 3, 256).double()
    expected[0, 2, 10], expected[0, 2, 30] = 0.5, 0.99999
    torch.testing.assert_close(table, expected)


def test_soft_label(table):
    rows = soft_label(LABEL, BINS, table).flatten(2)[0].t()
    expected = torch.tensor([[0.5, 0, 0.5], [0, 1e-5, 0.99999], [1, 0, 0], [0, 0.5, 0.5]])
    torch.testing.assert_close(rows, expected.double())
    assert torch.equal(rows.sum(1), torch.ones(4).double())


def test_cross_entropy_and_loss(table):
    target = soft_label(LABEL, BINS, table).float()
    per_pixel = -(target * LOGITS.log_softmax(1)).sum(1).flatten()
    expected = torch.tensor([1.051445, 2.239525, 1.098612, 1.361995])
    torch.testing.assert_close(per_pixel, expected, atol=1e-6, rtol=0)
    loss = guidance_loss(LOGITS, LABEL, BINS, table, SHARE)
    assert loss.item() == pytest.approx(0.0718947, abs=1e-7)
    nothing = guidance_loss(LOGITS, LABEL, BINS, torch.zeros_like(table), SHARE)
    assert nothing.item() == pytest.approx(0.0343950, abs=1e-7)


def test_labels_are_left_alone(table):
    before = LABEL.clone()
    soft_label(LABEL, BINS, table)
    guidance_loss(LOGITS, LABEL, BINS, table, SHARE)
    assert torch.equal(LABEL, before)


@pytest.mark.parametrize("known", [False, True])
def test_the_compact_form_equals_the_dense_one(known):
    generator = torch.Generator().manual_seed(0)
    bank = torch.randint(0, 50, (2, 7, 256), generator=generator)
    bank *= torch.rand(2, 7, 256, generator=generator) < 0.3
    missing = torch.rand(2, 7, generator=generator) < 0.4
    table = class_probability(bank, missing)
    label = torch.randint(0, 7, (2, 9, 11), generator=generator)
    bins = torch.randint(0, 257, (2, 9, 11), generator=generator)
    logits = torch.randn(2, 7, 9, 11, generator=generator, requires_grad=True)
    share = torch.tensor([0.3, 0.8])

    dense = -(soft_label(label, bins, table).float() * logits.log_softmax(1)).sum(1)
    dense = (0.1 * share.view(2, 1, 1) * dense).mean()
    classes = missing.any(0).nonzero().flatten().tolist() if known else None
    compact = guidance_loss(logits, label, bins, table, share, classes=classes)
    assert compact.item() == pytest.approx(dense.item(), abs=1e-6)
    (one,) = torch.autograd.grad(dense, logits)
    (other,) = torch.autograd.grad(compact, logits)
    torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_half_precision_logits_are_widened(table):
    loss = guidance_loss(LOGITS.bfloat16(), LABEL, BINS, table, SHARE)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(0.0718947, abs=1e-7)  # these logits are exact in bfloat16


def test_the_valid_factor_leaves_the_mean_over_all_pixels(table):
    valid = torch.tensor([[[1.0, 1], [0, 0]]])
    loss = guidance_loss(LOGITS, LABEL, BINS, table, SHARE, valid=valid)
    assert loss.item() == pytest.approx(0.05 * (1.051445 + 2.239525) / 4, abs=1e-6)


def test_fixture_of_the_specification(fixture_bank):
    bank, target = fixture_bank
    best = bank[:, 3][None]
    missing = missing_classes(best, target)
    assert missing.nonzero()[:, 1].tolist() == [4, 7, 11, 14]
    mass = class_probability(best, missing)[0].sum(0)
    found = [mass[k].item() for k in (0, 1, 4, 10, 128, 255)]
    expected = [0.270270, 0.45, 0, 0.512821, 0.333333, 0.512821]
    assert found == pytest.approx(expected, abs=1e-6)
    assert int((mass > 0).sum()) == 220


def two_missing(counts):
    """Class 1 overlaps the target's depth of 20, class 2 does not; class 0 is the target's."""
    bank = counts({0: {20: 1}, 1: {20: 5}, 2: {90: 5}})[None]
    target = counts({0: {20: 9}})[None]
    missing = missing_classes(bank, target)
    return missing, overlaps(class_probability(bank, missing), target.sum(1))


def test_trigger_by_any_or_by_the_last_missing_class(counts):
    missing, overlap = two_missing(counts)
    assert overlap.tolist() == [[False, True, False]]
    assert triggered(missing, overlap, "any") and not triggered(missing, overlap, "last")
    assert triggered(missing, torch.tensor([[False, False, True]]), "last")


def test_the_last_image_decides_only_if_it_misses_a_class():
    overlap = torch.tensor([[True, False], [False, False]])
    assert triggered(torch.tensor([[True, False], [False, False]]), overlap, "last")
    assert not triggered(torch.tensor([[True, False], [False, True]]), overlap, "last")


def test_with_the_last_trigger_a_class_that_does_not_overlap_gets_no_mass(counts):
    """Class 1 lies at fractional depths of the target alone, class 2 at whole ones."""
    bank = counts({0: {5: 1}, 1: {20: 5}, 2: {30: 5}})[None]
    pixels = counts({0: {20: 4, 30: 4}})[None]
    depth = torch.tensor([[[20.5, 20.5, 20.5, 20.5, 30, 30, 30, 30]]])
    one, yes = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    match = Match(yes, one, torch.ones(1, 3), bank)
    for trigger, mass in {"any": [0.99999] * 2, "last": [0, 0.99999]}.items():
        decision = decide(match, pixels, (0.5, 0.5), trigger, exact_pixels=whole_bins(depth))
        table = decision.table[0]
        assert decision.guided and [table[1, 20].item(), table[2, 30].item()] == mass
    half = decide(match, pixels, (0.5, 0.5), max_prob=0.5).table
    assert half.max() == 0.5


@pytest.mark.parametrize("trigger", ["any", "last"])
def test_nothing_missing_nothing_triggered(trigger):
    none = torch.zeros(2, 3, dtype=torch.bool)
    assert not triggered(none, none, trigger)


def test_overlap_of_floored_and_of_exact_depths(counts):
    bank = counts({1: {10: 5}}, 2)[None]
    table = class_probability(bank, torch.tensor([[False, True]]))
    depth = torch.tensor([[[10.25, 20.0]]])
    floored = depth_histogram(torch.zeros(1, 1, 2, dtype=torch.int64), depth, 2).sum(1)
    assert overlaps(table, floored).tolist() == [[False, True]]
    assert overlaps(table, whole_bins(depth)).tolist() == [[False, False]]


def test_depths_in_no_bin():
    assert depth_bins(torch.tensor([[[-0.5, 0.0, 255.9, 256.0, 400.0]]])).tolist() == [
        [[256, 0, 255, 256, 256]]
    ]
    assert depth_bins(torch.tensor([[[0, 255]]], dtype=torch.uint8)).tolist() == [[[0, 255]]]


def test_depths_in_fewer_bins():
    depth = torch.tensor([[[0.0, 31.9, 32.0, 255.9, 256.0, -1.0]]])
    assert depth_bins(depth, number=8).tolist() == [[[0, 0, 1, 7, 8, 8]]]
    valid = torch.tensor([[[True, False, True, True, True, True]]])
    assert depth_bins(depth, valid, 8).tolist() == [[[0, 8, 1, 7, 8, 8]]]
