import json

import cv2
import numpy as np
import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.foundation import MASK_PROPOSERS, MaskSet
from mmseg_uda.foundation.masks.partitions import label_components

IMAGE = np.zeros((10, 14, 3), np.uint8)


def build(kind, **options):
    return MASK_PROPOSERS.build({"type": kind, **options})


def test_grid_covers_the_image_once():
    masks = build("GridProposer", cell=4).propose(IMAGE)
    assert len(masks) == 3 * 4
    assert masks.box[[0, 1, 11]].tolist() == [[0, 0, 3, 3], [4, 0, 7, 3], [12, 8, 13, 9]]
    assert masks.area.sum() == 140


def test_components_of_the_source_prediction():
    labels = np.array([[0, 0, 1, 0], [0, 0, 1, 0], [255, 255, 255, 1]])
    proposer = build("ConnectedComponentProposer", min_area=2)
    assert proposer.needs_labels
    masks = proposer.propose(IMAGE[:3, :4], labels)
    # The two areas of class 0 are apart; the single pixel of class 1 touches the other by a corner
    # only once column 2 ends in row 1, so 8 neighbours join them.
    assert masks.area.tolist() == [4, 2, 3, 3]
    four = build("ConnectedComponentProposer", min_area=2, connectivity=4)
    assert four.propose(IMAGE[:3, :4], labels).area.tolist() == [4, 2, 2, 3]


@pytest.mark.parametrize("connectivity", [4, 8])
def test_components_are_opencvs_value_by_value(connectivity):
    rng = np.random.default_rng(4)
    for size, kinds in (((30, 41), 3), ((17, 1), 2), ((1, 23), 2), ((25, 25), 9)):
        values = rng.integers(0, kinds, size)
        ours = label_components(values, 0, connectivity)
        assert sorted(np.unique(ours)) == list(range(ours.max() + 1))
        for value in range(kinds):
            of_value = (values == value).astype(np.uint8)
            count, expected = cv2.connectedComponents(of_value, connectivity=connectivity)
            pairs = np.unique(np.stack([ours, expected])[:, values == value], axis=1)
            assert pairs.shape[1] == count - 1  # one to one


def test_components_of_colours():
    image = np.zeros((6, 8, 3), np.uint8)
    image[:, 4:] = (200, 10, 10)
    image[2:4, 4:] = (200, 12, 10)  # falls into the same of 8 levels
    image[5, 0] = 255
    proposer = build("ConnectedComponentProposer", source="colour", min_area=4)
    assert not proposer.needs_labels
    assert proposer.propose(image).area.tolist() == [23, 24]


def test_masks_of_other_programs_are_read(tmp_path):
    masks = MaskSet.from_label_map(np.arange(140).reshape(10, 14) // 35)
    records = masks.to_coco()
    (tmp_path / "city").mkdir()
    (tmp_path / "city" / "plain.json").write_text(json.dumps(records))
    (tmp_path / "city" / "ssa_semantic.json").write_text(
        json.dumps({"annotations": records, "semantic_mask": {}})
    )
    masks.save(tmp_path / "own.npz")
    proposer = build("PrecomputedMaskProposer", folder=str(tmp_path))
    for name in ("city/plain", "city/ssa", "own"):
        assert proposer.propose(IMAGE, name=name) == masks


def test_masks_of_another_size_are_scaled(tmp_path):
    half = MaskSet.from_label_map(np.arange(35).reshape(5, 7) // 7)
    (tmp_path / "a.json").write_text(json.dumps(half.to_coco()))
    proposer = build("PrecomputedMaskProposer", folder=str(tmp_path))
    assert proposer.propose(IMAGE, name="a").area.tolist() == [28] * 5


def test_a_file_without_records_means_no_region(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    masks = build("PrecomputedMaskProposer", folder=str(tmp_path)).propose(IMAGE, name="a")
    assert len(masks) == 0 and masks.size == (10, 14)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[" * 100_000,
        '{"masks": []}',
        '[{"area": 3}]',
        '[{"segmentation": {"size": [1, 2], "counts": [9]}}]',
        '[{"segmentation": {"size": [1, 2], "counts": [1e999]}}]',
        f'[{{"segmentation": {{"size": [1, 2], "counts": [{10**30}]}}}}]',
        f'[{{"segmentation": {{"size": [{10**9}, {10**9}], "counts": [0, {10**18}]}}}}]',
    ],
)
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    proposer = build("PrecomputedMaskProposer", folder=str(tmp_path))
    with pytest.raises(UserError, match=r"a\.json"):
        proposer.propose(IMAGE, name="a")


def test_a_missing_file_is_named(tmp_path):
    proposer = build("PrecomputedMaskProposer", folder=str(tmp_path))
    with pytest.raises(UserError, match="city/b") as error:
        proposer.propose(IMAGE, name="city/b")
    assert "city/b.json" in error.value.fix


@pytest.mark.parametrize(
    "options",
    [
        {"type": "GridProposer", "cell": 0},
        {"type": "ConnectedComponentProposer", "source": "depth"},
        {"type": "ConnectedComponentProposer", "connectivity": 6},
        {"type": "SLICProposer", "segments": 0},
        {"type": "FelzenszwalbProposer", "min_size": 0},
    ],
)
def test_bad_options_fail_when_built(options):
    with pytest.raises(UserError, match=str(list(options.values())[1])):
        MASK_PROPOSERS.build(options)


def test_keys_tell_settings_apart():
    keys = {build("GridProposer", cell=c).cache_key for c in (8, 16)}
    keys |= {
        build("ConnectedComponentProposer", **o).cache_key
        for o in ({}, {"min_area": 5}, {"source": "colour"}, {"source": "colour", "levels": 4})
    }
    keys |= {build(kind).cache_key for kind in ("SLICProposer", "FelzenszwalbProposer")}
    keys |= {build("SLICProposer", segments=9).cache_key}
    assert len(keys) == 9


def two_colours():
    image = np.zeros((24, 30, 3), np.uint8)
    image[:, :14] = (220, 40, 40)
    image[:, 14:] = (30, 60, 200)
    return image


@pytest.mark.parametrize(
    "config",
    [
        {"type": "SLICProposer", "segments": 12, "sigma": 0.0},
        {"type": "FelzenszwalbProposer", "scale": 50.0, "min_size": 20, "sigma": 0.0},
    ],
)
def test_superpixels_cover_the_image_once_and_keep_to_colours(config):
    pytest.importorskip("skimage", reason="scikit-image is optional")
    image = two_colours()
    masks = MASK_PROPOSERS.build(config).propose(image)
    assert masks.area.sum() == 24 * 30 and len(masks) >= 2
    left = np.arange(30) < 14
    for m in range(len(masks)):
        columns = masks.decode(m, box_only=False).any(0)
        assert columns[left].any() != columns[~left].any()


@pytest.mark.parametrize("kind", ["SLICProposer", "FelzenszwalbProposer"])
def test_without_scikit_image_the_package_is_named(kind, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(UserError, match="scikit-image") as error:
        build(kind).propose(IMAGE)
    assert "pip install scikit-image" in error.value.fix


def test_a_file_that_is_called_otherwise_is_named(tmp_path):
    (tmp_path / "a_masks.json").write_text("[]")
    with pytest.raises(UserError, match=r"there is a_masks\.json, and suffixes are \.json"):
        build("PrecomputedMaskProposer", folder=str(tmp_path), suffixes=".json").find("a")
    assert (
        build("PrecomputedMaskProposer", folder=str(tmp_path), suffixes="_masks.json")
        .find("a")
        .is_file()
    )
