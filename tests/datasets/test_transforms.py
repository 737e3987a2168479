from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import TRANSFORMS
from PIL import Image
from tiny_data import write_image, write_label, write_palette_label

from mmseg_uda.datasets.transforms import (
    CropFields,
    FlipFields,
    LoadFrame,
    LoadTrainIds,
    MarkValid,
    PackFields,
    ResizeFields,
)
from mmseg_uda.errors import UserError
from mmseg_uda.labels import LabelIds
from mmseg_uda.taxonomy import load_taxonomy


def sample(height, width, **fields):
    results = {"img": np.zeros((height, width, 3), np.uint8), "seg_fields": list(fields)}
    return {**results, "img_path": "x.png", **fields}


def label_sample(path, label_map=None, shape=None, image="image.png"):
    results = {"img_path": str(image), "seg_map_path": str(path), "seg_fields": []}
    if shape is not None:
        results["ori_shape"] = shape
    return {**results, "label_ids": LabelIds.of(load_taxonomy("cityscapes19"), label_map)}


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((1914, 1052), (1280, 720), (1280, 704)),
        ((1914, 1052), (2560, 1440), (2560, 1407)),
        ((1912, 1052), (2560, 1440), (2560, 1409)),
        ((1280, 760), (2560, 1520), (2560, 1520)),
        ((1920, 1080), (960, 540), (960, 540)),
        ((2048, 1024), (1024, 512), (1024, 512)),
    ],
)
def test_resize_keeps_the_ratio(size, scale, expected):
    width, height = size
    assert ResizeFields(scale).target_size(height, width) == expected[::-1]


def test_resize_treats_image_and_fields():
    label = np.array([[0, 1], [2, 255]], np.uint8)
    results = ResizeFields((4, 4))(sample(2, 2, gt_seg_map=label, valid_mask=label % 2))
    assert results["img"].shape == (4, 4, 3)
    expected = np.kron(label, np.ones((2, 2), np.uint8))
    assert results["gt_seg_map"].tolist() == expected.tolist()
    assert results["valid_mask"].tolist() == (expected % 2).tolist()
    assert results["img_shape"] == (4, 4)


def test_crop_uses_one_box_for_all_fields():
    grid = np.arange(100, dtype=np.uint8).reshape(10, 10)
    results = sample(10, 10, a=grid, b=grid + 1)
    results["img"] = np.stack([grid] * 3, -1)
    np.random.seed(0)
    results = CropFields((3, 4))(results)
    assert results["a"].shape == (3, 4)
    assert (results["img"][..., 0] == results["a"]).all()
    assert (results["b"] == results["a"] + 1).all()


def test_crop_offsets_are_uniform_and_include_the_last():
    crop = CropFields((8, 4))
    np.random.seed(0)
    boxes = {crop.choose_box(sample(10, 6)) for _ in range(200)}
    assert boxes == {(y, y + 8, x, x + 4) for y in range(3) for x in range(3)}


def test_crop_of_a_smaller_image_keeps_it():
    results = CropFields((8, 8))(sample(5, 20))
    assert results["img"].shape == (5, 8, 3)


def count_draws(crop, results, monkeypatch):
    draws = []
    draw = crop._draw

    def counted(*size):
        draws.append(size)
        return draw(*size)

    monkeypatch.setattr(crop, "_draw", counted)
    crop.choose_box(results)
    return len(draws)


@pytest.mark.parametrize(
    ("columns", "draws"),
    [
        ([0, 0, 0, 0], 11),  # one class: ten redraws, the last one unchecked
        ([0, 255, 255, 255], 11),  # ignored pixels are no class
        ([0, 0, 0, 1], 11),  # 0.75 is not below 0.75
        ([0, 0, 1, 255], 1),  # 2/3 of the labelled pixels
    ],
)
def test_crop_redraws_until_no_class_dominates(columns, draws, monkeypatch):
    label = np.tile(np.array(columns, np.uint8), (4, 1))
    crop = CropFields((4, 4), cat_max_ratio=0.75)
    assert count_draws(crop, sample(4, 4, gt_seg_map=label), monkeypatch) == draws


def test_crop_without_label_or_ratio_draws_once(monkeypatch):
    assert count_draws(CropFields((4, 4), 0.75), sample(8, 8), monkeypatch) == 1
    label = np.zeros((8, 8), np.uint8)
    assert count_draws(CropFields((4, 4)), sample(8, 8, gt_seg_map=label), monkeypatch) == 1


def test_flip_mirrors_everything():
    row = np.arange(6, dtype=np.uint8)[None]
    results = sample(1, 6, gt_seg_map=row, valid_mask=row)
    results["img"] = np.stack([row] * 3, -1)
    results = FlipFields(prob=1.0)(results)
    for key in ("gt_seg_map", "valid_mask"):
        assert results[key].tolist() == [[5, 4, 3, 2, 1, 0]]
    assert results["img"][0, :, 1].tolist() == [5, 4, 3, 2, 1, 0]
    assert results["flip"] is True
    assert FlipFields(prob=0.0)(sample(1, 1))["flip"] is False


def test_valid_mask_of_cityscapes_at_half_scale():
    results = MarkValid((30, 240, 30, 30))(sample(1024, 2048))
    mask = ResizeFields((1024, 512))(results)["valid_mask"]
    expected = np.zeros((512, 1024), np.uint8)
    expected[15:392, 15:1009] = 1
    assert (mask == expected).all()


def test_valid_mask_follows_crop_and_flip():
    results = MarkValid((0, 0, 30, 0))(sample(100, 200))
    results = CropFields((100, 100)).apply(results, (0, 100, 0, 100))
    mask = FlipFields(prob=1.0)(results)["valid_mask"]
    assert (mask[:, -30:] == 0).all()
    assert (mask[:, :-30] == 1).all()


def test_valid_mask_without_margins_is_left_out():
    assert "valid_mask" not in MarkValid()(sample(4, 4))


def test_margins_as_shares_are_the_published_ones():
    schedule = json.loads((Path(__file__).parents[1] / "golden/vfm/schedule.json").read_text())
    published = schedule["margins_top_bottom_left_right"]
    published["33x66"] = [0, 8, 1, 1]
    published["32x33"] = [0, 8, 0, 0]  # the original marks everything here
    for size, (top, bottom, left, right) in published.items():
        height, width = map(int, size.split("x"))
        results = MarkValid(shares=(0.03, 0.25, 0.03, 0.03))(
            {"img": np.zeros((height, width, 3), np.uint8), "seg_fields": []}
        )
        expected = np.zeros((height, width), np.uint8)
        expected[top : height - bottom, left : width - right] = 1
        assert np.array_equal(results["valid_mask"], expected), size
    with pytest.raises(UserError, match="both margins and shares"):
        MarkValid((1, 1, 1, 1), shares=(0.1, 0.1, 0.1, 0.1))


def test_the_short_side_is_scaled_at_random():
    np.random.seed(0)
    resize = ResizeFields(short_side=1024, factor=(0.9, 1.1))
    sizes = [resize.target_size(1024, 2048) for _ in range(300)]
    assert all(abs(width - 2 * height) <= 1 for height, width in sizes)
    heights = [height for height, _ in sizes]
    assert min(heights) in range(922, 930) and max(heights) in range(1118, 1127)
    assert ResizeFields(short_side=1440).target_size(1052, 1914) == (1440, 2620)
    for options in ({}, dict(scale=(8, 8), short_side=8)):
        with pytest.raises(UserError, match="scale or a short_side"):
            ResizeFields(**options)


def test_the_short_side_is_one_of_several():
    np.random.seed(0)
    sides = [512 * k // 10 for k in range(5, 21)]
    assert (sides[0], sides[1], sides[-1]) == (256, 307, 1024)
    resize = ResizeFields(short_side=sides)
    heights = [resize.target_size(1024, 2048)[0] for _ in range(800)]
    counts = {side: heights.count(side) for side in sides}
    assert sum(counts.values()) == 800 and min(counts.values()) > 25
    for wrong in ([], [512, 0], "512"):
        with pytest.raises(UserError, match="no length in pixels"):
            ResizeFields(short_side=wrong)


def test_margins_larger_than_the_image_are_refused():
    with pytest.raises(UserError, match="leave nothing"):
        MarkValid((30, 240, 30, 30))(sample(128, 256))


def test_label_map_is_applied_to_palette_files(tmp_path):
    path = tmp_path / "l.png"
    write_palette_label(path, np.array([[0, 9, 14, 16, 255]]))
    results = LoadTrainIds()(label_sample(path, "gta16"))
    assert results["gt_seg_map"].tolist() == [[0, 8, 13, 255, 255]]
    assert results["seg_fields"] == ["gt_seg_map"]


def test_raw_ids_can_be_read_without_a_converter(tmp_path):
    path = tmp_path / "l.png"
    write_palette_label(path, np.array([[7, 8, 0, 33]]))
    results = LoadTrainIds()(label_sample(path, "gta"))
    assert results["gt_seg_map"].tolist() == [[0, 1, 255, 18]]


def test_sample_without_label_path_stays_unlabelled():
    assert "gt_seg_map" not in LoadTrainIds()({"img_path": "x", "seg_fields": []})


def test_id_outside_the_taxonomy_is_named(tmp_path):
    path = tmp_path / "odd.png"
    write_label(path, np.array([[0, 33]]))
    with pytest.raises(UserError, match=r"(?s)odd\.png holds id 33.*19 classes.*convert"):
        LoadTrainIds()(label_sample(path))


def test_label_of_another_size_is_named(tmp_path):
    path = tmp_path / "odd.png"
    write_label(path, np.zeros((2, 3)))
    with pytest.raises(UserError, match=r"odd\.png has 3x2 pixels, its image has 4x2"):
        LoadTrainIds()(label_sample(path, shape=(2, 4)))


def test_truncated_label_is_named(tmp_path):
    path = tmp_path / "odd.png"
    write_label(path, np.random.default_rng(0).integers(0, 19, (64, 64)))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"odd\.png cannot be decoded"):
        LoadTrainIds()(label_sample(path))


def test_coloured_label_is_refused(tmp_path):
    write_image(tmp_path / "odd.png")
    with pytest.raises(UserError, match=r"odd\.png has pixels of type RGB"):
        LoadTrainIds()(label_sample(tmp_path / "odd.png"))


@pytest.mark.parametrize("size", [0, 20, 3000])
def test_truncated_image_is_named(tmp_path, size):
    path = tmp_path / "odd.png"
    write_image(path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match=r"odd\.png cannot be decoded"):
        LoadFrame()({"img_path": str(path)})


def test_frame_is_bgr_at_native_size(tmp_path):
    image = write_image(tmp_path / "a.png", 6, 8)
    results = LoadFrame()({"img_path": str(tmp_path / "a.png")})
    assert (results["img"] == image).all()
    assert results["ori_shape"] == results["img_shape"] == (6, 8)


def test_pack_keeps_bytes_and_names():
    label = np.array([[1, 2]], np.uint8)
    depth = np.array([[0.5, 1.5]], np.float32)
    packed = PackFields()(sample(1, 2, gt_seg_map=label, depth=depth))
    assert tuple(packed["inputs"].shape) == (3, 1, 2)
    data = packed["data_samples"]
    assert data.gt_sem_seg.data.tolist() == [[[1, 2]]]
    assert data.depth.data.tolist() == [[[0.5, 1.5]]]
    assert str(data.gt_sem_seg.data.dtype) == "torch.uint8"
    assert data.img_path == "x.png"


@pytest.mark.parametrize("orientation", [6, 8])
@pytest.mark.parametrize("drawn_on", ["stored", "upright"])
def test_a_label_stays_on_its_picture_when_that_is_turned(tmp_path, orientation, drawn_on):
    """A camera held sideways: the label's size says which raster it was drawn on."""
    stored = np.zeros((20, 30, 3), np.uint8)
    stored[2:7, 4:12] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    label = (stored[..., 0] > 0).astype(np.uint8)
    if drawn_on == "upright":
        label = np.rot90(label, -1 if orientation == 6 else 1)
    write_label(tmp_path / "l.png", label)
    results = LoadFrame().transform(
        {**label_sample(tmp_path / "l.png"), "img_path": str(tmp_path / "a.png")}
    )
    results = LoadTrainIds().transform(results)
    assert results["img"].shape == (30, 20, 3) and results["ori_shape"] == (30, 20)
    assert np.array_equal(results["img"][..., 0] > 0, results["gt_seg_map"] == 1)


def test_a_label_on_its_side_without_a_mark_in_the_image_is_refused(tmp_path):
    write_image(tmp_path / "a.png", 20, 30)
    write_label(tmp_path / "l.png", np.zeros((30, 20)))
    results = LoadFrame().transform(
        {**label_sample(tmp_path / "l.png"), "img_path": str(tmp_path / "a.png")}
    )
    with pytest.raises(UserError, match=r"l\.png has 20x30 pixels, its image has 30x20"):
        LoadTrainIds().transform(results)


@pytest.mark.parametrize(
    "transform, name",
    [
        ("CropFields", "crop_size"),
        ("RandomScaleCrop", "crop_size"),
        ("ResizeFields", "scale"),
        ("ResizeToScore", "size"),
        ("CenterCropPad", "size"),
    ],
)
def test_sizes_of_no_picture(transform, name):
    for value in ([0, 0], (64, -1), 64, "64x64", (64,), (8.5, 8), [True, 8], None):
        if value is None and transform.startswith("Resize"):  # by another option
            continue
        with pytest.raises(UserError, match=f"{transform}: {name}=.* is no size"):
            TRANSFORMS.build({"type": transform, name: value})
