"""Weights and schedule."""

import pytest
import torch

from mmseg_uda.errors import UserError
from mmseg_uda.methods.cdda import decay_count, reweight, threshold

LABEL = torch.tensor([[[0, 1, 1], [2, 2, 2], [0, 0, 0]]])
CONFIDENT = torch.tensor([[[1, 0, 1], [1, 1, 0], [0, 1, 1]]]).bool()
SIMILARITY = torch.tensor([[0.9, 0.05, 0.425]], dtype=torch.float64)


def weights(label=LABEL, confident=CONFIDENT, similarity=SIMILARITY, **options):
    return reweight(torch.full(label.shape, 0.4), label, confident, similarity, **options)


@pytest.mark.parametrize(
    ("similarity", "confident", "other"),
    [
        (0, 0, 0),
        (0.0999, 0, 0),
        (0.1, 0, 0),
        (0.425, 0.5, 0.5),
        (0.75, 1, 1),
        (0.7501, 1, 0.4),
        (1, 1, 0.4),
    ],
)
def test_weight_of_a_similarity(similarity, confident, other):
    result = weights(
        torch.zeros(1, 1, 2, dtype=torch.int64),
        torch.tensor([[[True, False]]]),
        torch.tensor([[similarity]], dtype=torch.float64),
    )
    torch.testing.assert_close(result, torch.tensor([[[confident, other]]]).float())


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ("class", [[1, 0, 0], [0.5, 0.5, 0.5], [0.4, 1, 1]]),
        ("first_row", [[1, 0.4, 0.4], [0, 0, 0], [0, 0, 0]]),
    ],
)
def test_both_masks(mask, expected):
    result = weights(mask=mask)
    torch.testing.assert_close(result, torch.tensor([expected]))


def test_the_mask_of_the_first_row_needs_square_images():
    with pytest.raises(UserError, match="reweight_mask='first_row'.*3x2"):
        weights(LABEL[:, :2], CONFIDENT[:, :2], mask="first_row")


@pytest.mark.parametrize("mask", ["class", "first_row"])
def test_a_closed_gate_changes_nothing(mask):
    assert weights(mask=mask, gate=torch.tensor([False])).eq(0.4).all()


def test_images_are_treated_one_by_one():
    label, confident = LABEL.repeat(2, 1, 1), CONFIDENT.repeat(2, 1, 1)
    similarity = SIMILARITY.repeat(2, 1)
    for mask in ("class", "first_row"):
        result = weights(label, confident, similarity, mask=mask, gate=torch.tensor([False, True]))
        assert result[0].eq(0.4).all()
        assert torch.equal(result[1:], weights(mask=mask))


@pytest.mark.parametrize("mask", ["class", "first_row"])
def test_skipped_classes_keep_their_weights(mask):
    skip = torch.tensor([False, True, False])
    result = weights(mask=mask, skip=skip)
    assert result[0][LABEL[0] == 1].eq(0.4).all()
    assert weights(mask="class")[0][LABEL[0] == 1].eq(0).all()


def test_first_row_equals_the_released_order_of_writing():
    """A loop over classes that writes into the map, on random labels."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 6, (1, 12, 12), generator=generator)
    confident = torch.rand(1, 12, 12, generator=generator) > 0.4
    similarity = torch.rand(1, 6, generator=generator).double()
    expected = torch.full((12, 12), 0.4)
    for c in range(6):
        first, s = label[0, 0] == c, float(similarity[0, c])
        for j in range(12):
            for i in range(12):
                if s > 0.75 and first[j] and confident[0, i, j]:
                    expected[i, j] = 1
                elif s <= 0.75 and first[i]:
                    expected[i, j] = min(max((s - 0.1) / 0.65, 0), 1)
    found = weights(label, confident, similarity, mask="first_row")
    torch.testing.assert_close(found[0], expected)


@pytest.mark.parametrize(
    ("step", "count"),
    [(0, 0), (9999, 0), (10000, 1), (10999, 1), (11000, 2), (25000, 16)]
    + [(38999, 29), (39000, 30), (60000, 30)],
)
def test_number_of_decrements(step, count):
    assert decay_count(step) == count


@pytest.mark.parametrize(
    ("start", "decay", "expected"),
    [
        (0.56, 0.0025, [0.56, 0.5575, 0.5325, 0.5075, 0.485]),
        (0.54, 0.0025, [0.54, 0.5375, 0.5125, 0.4875, 0.465]),
        (0.56, 0.003, [0.56, 0.557, 0.527, 0.497, 0.47]),
        (0.54, 0.003, [0.54, 0.537, 0.507, 0.477, 0.45]),
        (0.49, 0.001, [0.49, 0.489, 0.479, 0.469, 0.46]),
        (0.47, 0.001, [0.47, 0.469, 0.459, 0.449, 0.44]),
        (0.49, 0.002, [0.49, 0.488, 0.468, 0.448, 0.43]),
        (0.47, 0.002, [0.47, 0.468, 0.448, 0.428, 0.41]),
    ],
)
def test_published_thresholds(start, decay, expected):
    steps = (0, 10000, 20000, 30000, 39000)
    assert [threshold(start, decay, s) for s in steps] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("begin", "end", "interval"), [(10000, 40000, 1000), (300, 1200, 30), (7, 20, 5), (0, 9, 4)]
)
def test_the_closed_form_counts_the_multiples(begin, end, interval):
    lowered = 0
    for step in range(end + 2 * interval):
        lowered += begin <= step < end and step % interval == 0
        assert decay_count(step, begin, end, interval) == lowered
