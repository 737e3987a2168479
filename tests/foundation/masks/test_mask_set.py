import json

import numpy as np
import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.foundation import MaskSet

A = np.ones((3, 4), bool)
B = np.zeros((3, 4), bool)
B[:2, 2:] = True
C = np.zeros((3, 4), bool)
C[2, 1:] = True


def some_masks(count=30, size=(20, 14), seed=0):
    rng = np.random.default_rng(seed)
    masks = [rng.random(size) < rng.random() for _ in range(count)]
    return [*masks, np.zeros(size, bool), np.ones(size, bool)]


def test_fields_of_known_masks():
    masks = MaskSet.from_masks([A, B, C], (3, 4))
    assert masks.area.tolist() == [12, 4, 3]
    assert masks.box.tolist() == [[0, 0, 3, 2], [2, 0, 3, 1], [1, 2, 3, 2]]
    assert [runs.tolist() for runs in masks.runs(2)] == [[5, 8, 11], [6, 9, 12]]
    record = masks.to_coco()[2]
    assert record["bbox"] == [1, 2, 2, 0] and record["area"] == 3
    assert record["segmentation"] == {"size": [3, 4], "counts": "512000"}


def test_box_area_and_content_are_the_masks():
    dense = some_masks()
    masks = MaskSet.from_masks(dense, (20, 14))
    for m, mask in enumerate(dense):
        y, x = np.nonzero(mask)
        box = [x.min(), y.min(), x.max(), y.max()] if mask.any() else [0, 0, 0, 0]
        assert masks.box[m].tolist() == box
        assert masks.area[m] == mask.sum()
        np.testing.assert_array_equal(masks.decode(m, box_only=False), mask)
        x1, y1, x2, y2 = box
        np.testing.assert_array_equal(masks.decode(m), mask[y1 : y2 + 1, x1 : x2 + 1])


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 3\) pixels in an image of \(3, 4\)"):
        MaskSet.from_masks([A, A.T], (3, 4))


def test_a_label_map_gives_one_region_per_value():
    labels = np.random.default_rng(1).integers(-1, 5, (9, 8))
    masks = MaskSet.from_label_map(labels)
    expected = MaskSet.from_masks([labels == value for value in range(5)], (9, 8))
    # Runs of a map may touch at the end of a column only where the value goes on there.
    assert masks == expected


def test_a_map_without_any_region():
    assert len(MaskSet.from_label_map(np.full((3, 4), -1))) == 0


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_smallest_region_is_seen_whatever_the_order(order):
    masks = MaskSet.from_masks([(A, B, C)[i] for i in order], (3, 4))
    assert masks.owner().tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 2, 2]]
    assert [order[m] for m in masks.order()] == [0, 1, 2]


def test_pixels_in_no_region_have_no_owner():
    hole = A.copy()
    hole[0, 0] = False
    assert MaskSet.from_masks([hole], (3, 4)).owner()[0].tolist() == [-1, 0, 0, 0]


def test_of_equal_regions_the_later_is_seen():
    masks = MaskSet.from_masks([C, B, C], (3, 4))
    assert masks.order().tolist() == [1, 0, 2]
    assert masks.owner()[2].tolist() == [-1, 2, 2, 2]


def test_regions_can_be_left_out_without_renumbering():
    masks = MaskSet.from_masks([A, B, C], (3, 4))
    owner = masks.owner(np.array([True, False, True]))
    assert owner.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 2, 2, 2]]


def test_json_file_and_arrays_give_the_same_set(tmp_path):
    rng = np.random.default_rng(2)
    dense = some_masks()
    masks = MaskSet.from_masks(dense, (20, 14), rng.random(len(dense)), rng.random(len(dense)))
    assert MaskSet.from_coco(json.loads(json.dumps(masks.to_coco()))) == masks
    masks.save(tmp_path / "a" / "masks.npz")
    masks.save(tmp_path / "b.npz")
    assert MaskSet.load(tmp_path / "a" / "masks.npz") == masks
    assert (tmp_path / "b.npz").read_bytes() == (tmp_path / "a" / "masks.npz").read_bytes()
    assert masks.select(np.arange(len(dense))) == masks


def test_selection_keeps_scores_and_order():
    masks = MaskSet.from_masks([A, B, C], (3, 4), [0.1, 0.2, 0.3])
    chosen = masks.select([2, 0])
    assert chosen.score.tolist() == pytest.approx([0.3, 0.1])
    assert chosen == masks.select(np.array([True, False, True])).select([1, 0])


def test_no_region_at_all(tmp_path):
    masks = MaskSet.from_masks([], (3, 4))
    masks.save(tmp_path / "none.npz")
    assert MaskSet.load(tmp_path / "none.npz") == masks
    assert (masks.owner() == -1).all() and masks.owner().shape == (3, 4)
    assert masks.to_coco() == [] and MaskSet.from_coco([], (3, 4)) == masks
    assert masks.select([]) == masks


def test_regions_follow_the_image_to_another_size():
    masks = MaskSet.from_masks([A, B, C], (3, 4)).resized((6, 8))
    np.testing.assert_array_equal(
        masks.decode(1, box_only=False), B.repeat(2, axis=0).repeat(2, axis=1)
    )
    assert masks.area.tolist() == [48, 16, 12]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "masks.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"masks\.npz"):
        MaskSet.load(tmp_path / "masks.npz")
    with pytest.raises(UserError, match=r"none\.npz"):
        MaskSet.load(tmp_path / "none.npz")


@pytest.mark.parametrize(
    "name, value",
    [
        ("size", [10**9, 10**9]),
        ("size", [-3, -4]),
        ("size", [2, 4]),
        ("starts", [-1, 5]),
        ("starts", [0.5, 5.0]),
        ("ends", [4, 10**9]),
        ("ends", [0, 6]),
        ("offsets", [0, 2, 1, 2]),
        ("offsets", [0, 2]),
        ("offsets", [1, 1, 2]),
        ("offsets", []),
        ("area", [4, 4]),
        ("box", [[0, 0, 0, 0]] * 2),
        ("score", [1.0]),
        ("stability", ["a", "b"]),
    ],
)
def test_arrays_that_do_not_belong_together(tmp_path, name, value):
    runs = [(np.array([0]), np.array([4])), (np.array([5]), np.array([6]))]
    masks = MaskSet.from_runs(runs, (3, 4))
    masks.save(tmp_path / "masks.npz")
    assert MaskSet.load(tmp_path / "masks.npz") == masks
    np.savez(tmp_path / "masks.npz", **{**masks.to_arrays(), name: np.array(value)})
    with pytest.raises(UserError, match=r"masks\.npz holds no masks"):
        MaskSet.load(tmp_path / "masks.npz")


def test_masks_of_different_images_do_not_mix():
    records = [*MaskSet.from_masks([A], (3, 4)).to_coco()]
    records += MaskSet.from_masks([A[:2]], (2, 4)).to_coco()
    with pytest.raises(ValueError, match="sizes"):
        MaskSet.from_coco(records)
