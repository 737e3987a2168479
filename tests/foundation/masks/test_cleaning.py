import numpy as np
import pytest

from mmseg_uda.foundation import MaskSet
from mmseg_uda.foundation.masks.cleaning import clean
from mmseg_uda.foundation.masks.rle import runs_to_mask


def cleaned(mask, min_area, exact=False):
    runs, changed = clean(MaskSet.from_masks([mask], mask.shape), 0, min_area, exact)
    return runs_to_mask(*runs, mask.shape), changed


@pytest.fixture
def block():
    mask = np.zeros((20, 24), bool)
    mask[4:14, 5:17] = True
    return mask


@pytest.mark.parametrize("exact", [False, True])
def test_small_holes_are_filled_and_small_islands_removed(block, exact):
    spoilt = block.copy()
    spoilt[6:8, 7:9] = False  # a hole of 4 pixels
    spoilt[17, 20:22] = True  # an island of 2
    result, changed = cleaned(spoilt, 5, exact)
    assert changed
    np.testing.assert_array_equal(result, block)
    kept, changed = cleaned(spoilt, 2, exact)
    assert not changed
    np.testing.assert_array_equal(kept, spoilt)


@pytest.mark.parametrize("exact", [False, True])
def test_islands_joined_by_a_corner_are_one(block, exact):
    block[14, 17] = True
    result, changed = cleaned(block, 5, exact)
    assert not changed and result[14, 17]


def test_if_all_islands_are_small_the_largest_stays():
    mask = np.zeros((8, 8), bool)
    mask[0, 0:2] = mask[4, 0:3] = mask[7, 7] = True
    result, changed = cleaned(mask, 50, exact=True)
    # The background has 58 pixels and is no hole.
    assert changed and result.sum() == 3 and result[4, 0:3].all()


def test_holes_are_filled_before_islands_are_counted():
    # A ring of 8 pixels around one: 9 together.
    mask = np.zeros((12, 12), bool)
    mask[2:5, 2:5] = mask[7:11, 7:11] = True
    mask[3, 3] = False
    result, _ = cleaned(mask, 9)
    assert result[2:5, 2:5].all()


def test_the_rest_of_the_image_is_no_hole_unless_exact():
    mask = np.ones((10, 10), bool)
    mask[9] = False  # 10 pixels remain below a region of full width
    result, changed = cleaned(mask, 20)
    assert not changed and not result[9].any()
    result, changed = cleaned(mask, 20, exact=True)
    assert changed and result.all()


def test_a_notch_at_the_border_of_the_image_is_a_hole_as_published():
    mask = np.zeros((10, 10), bool)
    mask[0:6, 2:8] = True
    mask[0:2, 4:6] = False  # open to the border only
    for exact in (False, True):
        result, changed = cleaned(mask, 5, exact)
        assert changed and result[0:2, 4:6].all()


def test_cleaning_inside_the_box_agrees_with_the_whole_image():
    rng = np.random.default_rng(3)
    for _ in range(40):
        mask = np.zeros((30, 34), bool)
        y, x = rng.integers(2, 12, 2)
        mask[y : y + 14, x : x + 16] = rng.random((14, 16)) < 0.7
        inside, whole = cleaned(mask, 6), cleaned(mask, 6, exact=True)
        np.testing.assert_array_equal(inside[0], whole[0])
        assert inside[1] == whole[1]


def test_an_empty_region_stays_empty():
    result, changed = cleaned(np.zeros((4, 4), bool), 3)
    assert not changed and not result.any()
