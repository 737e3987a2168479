import numpy as np
import pytest

from mmseg_uda.foundation.masks import rle

RNG = np.random.default_rng(0)


def masks():
    yield np.zeros((5, 7), bool)
    yield np.ones((5, 7), bool)
    yield np.ones((1, 1), bool)
    for density in (0.02, 0.5, 0.98):
        for size in ((1, 9), (9, 1), (13, 17), (40, 30)):
            yield RNG.random(size) < density
    large = np.zeros((500, 700), bool)  # counts of more than one character
    large[20:480, 100] = large[3, 400:600] = True
    yield large


@pytest.mark.parametrize("mask", masks(), ids=lambda m: f"{m.shape}-{m.sum()}")
def test_a_mask_survives_runs_counts_and_text(mask):
    starts, ends = rle.mask_to_runs(mask)
    assert (ends > starts).all() and (starts[1:] > ends[:-1]).all()
    np.testing.assert_array_equal(rle.runs_to_mask(starts, ends, mask.shape), mask)
    (again, last), size = rle.decode(rle.encode(starts, ends, mask.shape))
    assert size == mask.shape
    np.testing.assert_array_equal(again, starts)
    np.testing.assert_array_equal(last, ends)


@pytest.mark.parametrize("mask", masks(), ids=lambda m: f"{m.shape}-{m.sum()}")
def test_text_is_pycocotools(mask):
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is optional")
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert rle.encode(*rle.mask_to_runs(mask), mask.shape) == {
        "size": list(expected["size"]),
        "counts": expected["counts"].decode(),
    }


def test_counts_and_text_of_a_known_mask():
    # row 2, columns 1 to 3 of a 3 × 4 mask.
    mask = np.zeros((3, 4), bool)
    mask[2, 1:] = True
    starts, ends = rle.mask_to_runs(mask)
    assert (starts.tolist(), ends.tolist()) == ([5, 8, 11], [6, 9, 12])
    counts = rle.runs_to_counts(starts, ends, 12)
    assert counts.tolist() == [5, 1, 2, 1, 2, 1]
    # Differences from the fourth count on: 5 1 2 0 0 0, six bits from '0'.
    assert rle.compress(counts) == "512000"


@pytest.mark.parametrize(
    ("counts", "text"),
    # By hand: 15 = 0b01111 fits five signed bits, 16 needs a second group, a falling count is
    # a negative difference (5 - 40 = -35 = groups 29 and 30: 0b11101 and 0b11110).
    [([15], "?"), ([16], "`0"), ([0, 40, 1, 5], "0X11mN")],
)
def test_text_of_known_counts(counts, text):
    assert rle.compress(np.array(counts)) == text
    assert rle.decompress(text).tolist() == counts
    assert rle.decompress(text.encode()).tolist() == counts


def test_windows_are_runs_of_the_whole_mask():
    mask = RNG.random((12, 10)) < 0.5
    for y0, y1, x0, x1 in ((0, 12, 3, 8), (2, 9, 0, 10), (4, 5, 6, 7)):
        whole = np.zeros_like(mask)
        whole[y0:y1, x0:x1] = mask[y0:y1, x0:x1]
        part = rle.mask_to_runs(mask[y0:y1, x0:x1], (x0, y0), 12)
        for ours, expected in zip(part, rle.mask_to_runs(whole), strict=True):
            np.testing.assert_array_equal(ours, expected)


def test_uncompressed_counts_are_read_and_empty_stretches_joined():
    (starts, ends), _ = rle.decode({"size": [2, 3], "counts": [1, 2, 0, 1, 2]})
    assert (starts.tolist(), ends.tolist()) == ([1], [4])


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [2, 3], "counts": [1, 2]},
        {"size": [2, 3], "counts": [9, -3]},
        {"size": [2, 3], "counts": "5\t"},
        {"size": [2, 3], "counts": "X"},
        {"size": [2, 3], "counts": "o" * 40 + "0"},
        {"counts": "6"},
        [[0, 0, 1, 1]],
    ],
)
def test_damaged_masks_are_refused(segmentation):
    with pytest.raises(ValueError, match="run"):
        rle.decode(segmentation)
