"""Base layer and painter against the spec's examples and painting pixel by pixel."""

import itertools

import numpy as np
import pytest

from mmseg_uda.foundation.masks import MaskSet
from mmseg_uda.methods.dynalign import assemble, default_layer, nearest

MAPILLARY = [13, 15, 17, 6, 3, 45, 48, 50, 30, 29, 27, 19, 20, 55, 61, 54, 58, 57, 52]
IDD = [0, 2, 22, 14, 15, 20, 19, 18, 24, 3, 25, 4, 5, 9, 10, 11, 12, 6, 7]


def three():
    a = np.ones((3, 4), bool)
    b, c = np.zeros((2, 3, 4), bool)
    b[:2, 2:] = True
    c[2, 1:] = True
    return a, b, c


def painted(regions, values, base):
    return assemble(MaskSet.from_masks(regions, base.shape), np.array(values), base).tolist()


@pytest.mark.parametrize(
    ("default", "wanted"), [(MAPILLARY, [[13, 27], [55, 52]]), (IDD, [[0, 25], [9, 7]])]
)
def test_default_layer(default, wanted):
    layer = default_layer(np.array([[0, 10], [13, 18]], np.uint8), default)
    assert layer.tolist() == wanted
    assert layer.dtype == np.uint8


def test_pixels_without_a_source_class_are_ignored_and_many_classes_need_two_bytes():
    labels = np.array([[0, 255], [1, 7]], np.uint8)
    assert default_layer(labels, [4, 5], void=254).tolist() == [[4, 254], [5, 254]]
    wide = default_layer(np.array([[0, 1]], np.uint16), [300, 2], void=65535)
    assert wide.dtype == np.uint16
    assert wide.tolist() == [[300, 2]]


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint64])
def test_the_type_of_the_prediction_does_not_matter(kind):
    labels = np.array([[0, 1], [2, 100]], kind)
    assert default_layer(labels, [4, 5]).tolist() == [[4, 5], [255, 255]]
    if np.issubdtype(kind, np.signedinteger):
        labels[0, 0] = -1
        assert default_layer(labels, [4, 5], void=9).tolist() == [[9, 5], [9, 9]]
    assert default_layer(np.zeros((0, 3), kind), [4, 5]).shape == (0, 3)


def test_more_source_classes_than_the_prediction_shows():
    default = list(range(300))
    assert default_layer(np.array([[7, 255]], np.uint8), default, 999).tolist() == [[7, 255]]
    found = default_layer(np.array([[7, 299, 300, 70000]]), default, void=999)
    assert found.tolist() == [[7, 299, 999, 999]]


def test_small_regions_lie_on_large_ones_in_whatever_order_they_come():
    base = np.full((3, 4), 13, np.uint8)
    wanted = [[24, 24, 15, 15], [24, 24, 15, 15], [24, 35, 35, 35]]
    for order in itertools.permutations(zip(three(), (24, 15, 35), strict=True)):
        regions, values = zip(*order, strict=True)
        assert painted(regions, values, base) == wanted
    owner = MaskSet.from_masks(three(), (3, 4)).owner()
    assert owner.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 2, 2]]


def test_a_pixel_of_no_region_keeps_the_base():
    a, b, c = three()
    a = a.copy()
    a[0, 0] = False
    assert painted((a, b, c), (24, 15, 35), np.full((3, 4), 13, np.uint8))[0] == [13, 24, 15, 15]


def test_the_later_of_two_equal_regions_wins():
    a = three()[0]
    assert painted((a, a), (1, 2), np.zeros((3, 4), np.uint8)) == [[2] * 4] * 3


def test_below_a_region_that_is_left_out_the_next_larger_one_is_seen():
    base = np.full((3, 4), 13, np.uint8)
    assert painted(three(), (24, -1, 35), base) == [[24] * 4, [24] * 4, [24, 35, 35, 35]]
    assert painted(three(), (-1, -1, -1), base) == base.tolist()


def test_equals_painting_masks_one_after_another():
    rng = np.random.default_rng(0)
    for _ in range(20):
        size = tuple(rng.integers(1, 20, 2).tolist())
        regions = [rng.random(size) < rng.random() for _ in range(rng.integers(1, 9))]
        values = rng.integers(-1, 60, len(regions))
        base = rng.integers(60, 90, size).astype(np.uint8)
        wanted = base.copy()
        for m in sorted(range(len(regions)), key=lambda m: -regions[m].sum()):
            if values[m] >= 0:
                wanted[regions[m]] = values[m]
        assert painted(regions, values, base) == wanted.tolist()


def test_no_region_leaves_a_copy_of_the_base():
    base = default_layer(np.array([[0, 10], [13, 18]], np.uint8), MAPILLARY)
    result = assemble(MaskSet.from_masks([], (2, 2)), np.zeros(0, np.int64), base)
    assert np.array_equal(result, base)
    assert result is not base


def test_values_have_to_fit_the_regions():
    with pytest.raises(ValueError, match="2 values for 3 regions"):
        painted(three(), (1, 2), np.zeros((3, 4), np.uint8))


def test_a_value_that_the_map_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="300 in a map of uint8"):
        painted(three(), (1, 2, 300), np.zeros((3, 4), np.uint8))
    assert painted(three(), (1, 2, 300), np.zeros((3, 4), np.uint16))[2] == [1, 300, 300, 300]


def test_nearest_neighbour_takes_the_pixel_below_the_scaled_index():
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert nearest(labels, (2, 2)).tolist() == [[0, 2], [4, 6]]
    assert nearest(labels, (3, 8)).tolist()[0] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert nearest(nearest(labels, (9, 12)), (3, 4)).tolist() == labels.tolist()
