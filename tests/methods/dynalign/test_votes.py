"""Majority votes: the spec's example, and equality with counting decoded masks."""

import numpy as np
import pytest

from mmseg_uda.foundation.masks import MaskSet
from mmseg_uda.methods.dynalign import class_histogram, majority, mean_probabilities

SOURCE = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 2, 1]], np.uint8)


def three():
    a = np.ones((3, 4), bool)
    b, c = np.zeros((2, 3, 4), bool)
    b[:2, 2:] = True
    c[2, 1:] = True
    return a, b, c


def random_set(rng, size):
    masks = [rng.random(size) < rng.random() for _ in range(rng.integers(0, 6))]
    masks += [np.zeros(size, bool), np.ones(size, bool)]
    return [masks[i] for i in rng.permutation(len(masks))]


def test_example_of_the_specification():
    masks = MaskSet.from_masks(three(), (3, 4))
    histogram = class_histogram(masks, SOURCE, 3)
    assert histogram.tolist() == [[5, 5, 2], [0, 4, 0], [0, 1, 2]]
    # Of equal counts the lowest id wins.
    assert majority(histogram).tolist() == [0, 1, 2]


def test_runs_of_a_region_are_read_column_by_column():
    masks = MaskSet.from_masks(three()[2:], (3, 4))
    assert masks.starts.tolist() == [5, 8, 11]
    assert masks.ends.tolist() == [6, 9, 12]
    record = masks.to_coco()[0]
    assert record["area"] == 3
    assert record["bbox"] == [1, 2, 2, 0]


def test_equals_counting_decoded_masks_on_fifty_random_sets():
    rng = np.random.default_rng(0)
    for _ in range(50):
        size = tuple(rng.integers(1, 24, 2).tolist())
        regions = random_set(rng, size)
        source = rng.choice([0, 1, 2, 3, 200, 255], size=size).astype(np.uint8)
        histogram = class_histogram(MaskSet.from_masks(regions, size), source, 4)
        wanted = [np.bincount(source[r], minlength=256)[:4] for r in regions]
        assert np.array_equal(histogram, np.stack(wanted))
        voted = majority(histogram)
        for row, counts in zip(voted, wanted, strict=True):
            assert row == (-1 if counts.sum() == 0 else counts.argmax())


def test_a_region_wholly_without_a_source_class_has_no_majority():
    source = np.full((3, 4), 255, np.uint8)
    histogram = class_histogram(MaskSet.from_masks(three(), (3, 4)), source, 19)
    assert histogram.sum() == 0
    assert majority(histogram).tolist() == [-1, -1, -1]


def test_labels_of_sixteen_bits_are_counted():
    source = SOURCE.astype(np.uint16) * 300
    histogram = class_histogram(MaskSet.from_masks(three()[:1], (3, 4)), source, 601)
    assert histogram[0, [0, 300, 600]].tolist() == [5, 5, 2]


def test_soft_votes_are_the_mean_probability_in_each_region():
    rng = np.random.default_rng(1)
    probabilities = rng.random((4, 9, 7)).astype(np.float32)
    regions = random_set(rng, (9, 7))
    means = mean_probabilities(MaskSet.from_masks(regions, (9, 7)), probabilities)
    for mean, region in zip(means, regions, strict=True):
        wanted = probabilities[:, region].mean(1) if region.any() else np.zeros(4)
        assert np.allclose(mean, wanted, atol=1e-6)


def test_a_soft_vote_may_differ_from_the_count_of_labels():
    # Two pixels barely class 0, one surely class 1.
    probabilities = np.array([[[0.51, 0.51, 0.0]], [[0.49, 0.49, 1.0]]])
    masks = MaskSet.from_masks([np.ones((1, 3), bool)], (1, 3))
    assert majority(mean_probabilities(masks, probabilities)).tolist() == [1]
    hard = probabilities.argmax(0).astype(np.uint8)
    assert majority(class_histogram(masks, hard, 2)).tolist() == [0]


def test_no_region():
    masks = MaskSet.from_masks([], (3, 4))
    assert class_histogram(masks, SOURCE, 3).shape == (0, 3)
    assert majority(class_histogram(masks, SOURCE, 3)).shape == (0,)


def test_another_size_is_refused():
    with pytest.raises(ValueError, match="size|pixels"):
        class_histogram(MaskSet.from_masks(three(), (3, 4)), SOURCE.T, 3)
