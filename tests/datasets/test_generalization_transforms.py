"""Augmentation and evaluation geometry of domain generalization."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from mmseg_uda.datasets.transforms import (
    CenterCropPad,
    FlipFields,
    RandomColorJitter,
    RandomGaussianBlur,
    RandomScaleCrop,
    ResizeToScore,
)
from mmseg_uda.datasets.transforms.appearance import gaussian_blur
from mmseg_uda.datasets.transforms.resampling import nearest, nearest_part, resized_part
from mmseg_uda.errors import UserError


def textured(height, width, seed=0):
    """A picture with edges and gradients, so that resampling has something to get wrong."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8))[:height, :width]


def sample(height, width, **extra):
    label = (np.arange(height)[:, None] // 7 + np.arange(width)[None] // 11) % 19
    return {
        "img": textured(height, width),
        "gt_seg_map": label.astype(np.uint8),
        "seg_fields": ["gt_seg_map"],
        **extra,
    }


@pytest.mark.parametrize("size", [(53, 97), (90, 160), (180, 321)])
def test_a_resized_part_is_the_crop_of_the_whole(size):
    image = textured(105, 191)
    whole = Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC)
    part = resized_part(image, size, (11, 47), (5, 83))
    difference = np.abs(part.astype(int) - np.asarray(whole)[11:47, 5:83])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize("size", [(53, 97), (105, 191), (180, 321)])
def test_labels_are_picked_as_pillow_picks_them(size):
    label = np.random.default_rng(0).integers(0, 19, (105, 191), np.uint8)
    whole = np.asarray(Image.fromarray(label).resize(size[::-1], Image.Resampling.NEAREST))
    assert (nearest_part(label, size, (0, size[0]), (0, size[1])) == whole).all()
    assert (nearest_part(label, size, (3, 40), (9, 90)) == whole[3:40, 9:90]).all()
    assert nearest((0, 4), 4, 8).tolist() == [1, 3, 5, 7]


def test_scale_and_crop_fill_the_crop_from_the_image_where_it_is_large_enough():
    np.random.seed(3)
    for _ in range(20):
        done = RandomScaleCrop((48, 64))(sample(100, 140))
        assert done["img"].shape == (48, 64, 3)
        assert done["gt_seg_map"].shape == (48, 64)
        assert (done["gt_seg_map"] != 255).all()
        assert 0.49 < done["scale_factor"][0] <= 2.0


def test_a_short_axis_is_padded_black_and_unlabelled_on_both_sides():
    """31 rows for a crop of 64: (64 - 31) // 2 + 1 = 17 on either side, 65 in all."""
    np.random.seed(0)
    tops = set()
    for _ in range(30):
        results = sample(31, 200)
        results["img"][:] = 200
        done = RandomScaleCrop((64, 64), scale=(1, 1))(results)
        inside = (done["gt_seg_map"] != 255).all(1)
        top = int(inside.argmax())
        tops.add(top)
        assert inside.sum() == 31
        assert inside[top : top + 31].all()
        assert (done["img"][inside] == 200).all()
        assert (done["img"][~inside] == 0).all()
    assert tops == {16, 17}


@pytest.mark.parametrize(
    ("centroid", "places"), [((0, 0), 2), ((199, 99), 50), ((120, 40), 100), ((60, 99), 100)]
)
def test_the_crop_shows_the_centroid(centroid, places):
    """Check 15: the window contains it, right and bottom bound included."""
    np.random.seed(1)
    found = set()
    crop = RandomScaleCrop((32, 48))
    for _ in range(300):
        results = {"img": np.zeros((100, 200, 3), np.uint8), "seg_fields": ["where"]}
        results["where"] = np.indices((100, 200)).transpose(1, 2, 0)
        results["centroid"] = centroid
        done = crop(results)
        factor = done["scale_factor"][0]
        shown = done["where"][:, :, ::-1]  # (x, y) of every pixel of the crop
        distance = np.abs(shown - np.array(centroid)).max(2).min()
        # one pixel of the scaled image, in native pixels, and the rounding of the scale
        assert distance <= 2 / factor + 1
        found.add(tuple(done["where"][0, 0]))
    assert len(found) >= places


def test_centroids_bound_the_window_exactly():
    np.random.seed(0)
    starts = {RandomScaleCrop._span(500, 100, 300)[0][0] for _ in range(4000)}
    assert starts == set(range(200, 301))
    assert {RandomScaleCrop._span(500, 100, 20)[0][0] for _ in range(400)} <= set(range(21))
    assert max(RandomScaleCrop._span(500, 100, 480)[0][0] for _ in range(400)) == 400
    # padded by (100 - 60) // 2 + 1 = 21: the centroid moves along
    spans = {RandomScaleCrop._span(60, 100, 59) for _ in range(2000)}
    assert spans == {((0, 60), 21), ((0, 60), 20), ((0, 60), 19)}


def test_the_augmentation_runs_in_the_order_of_the_specification():
    from mmengine.dataset import Compose

    import mmseg_uda.datasets  # noqa: F401

    steps = [
        dict(type="RandomScaleCrop", crop_size=(32, 32)),
        dict(type="FlipFields", prob=0.5),
        dict(type="RandomColorJitter"),
        dict(type="RandomGaussianBlur"),
    ]
    pipeline = Compose(steps)
    np.random.seed(7)
    got = pipeline(sample(60, 80))
    np.random.seed(7)
    expected = sample(60, 80)
    for step in (
        RandomScaleCrop((32, 32), (0.5, 2.0)),
        FlipFields(0.5),
        RandomColorJitter(0.4, 0.4, 0.4, 0.1, 0.5),
        RandomGaussianBlur((0.15, 1.30)),
    ):
        expected = step(expected)
    assert (got["img"] == expected["img"]).all()


@pytest.mark.parametrize("sigma", [0.15, 0.5, 1.0, 1.29])
def test_blur_is_the_truncated_gaussian(sigma):
    image = textured(40, 50)
    exact = ndimage.gaussian_filter(
        image / 255.0, (sigma, sigma, 0), mode="nearest", radius=(*[int(4 * sigma + 0.5)] * 2, 0)
    )
    expected = (exact * 255 + 1e-6).astype(np.uint8)
    difference = gaussian_blur(image, sigma).astype(int) - expected
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 0.002
    flat = np.full((9, 9, 3), 80, np.uint8)
    assert (gaussian_blur(flat, sigma) == 80).all()


def test_jitter_is_torchvisions_on_rgb(monkeypatch):
    from torchvision.transforms import functional

    image = textured(16, 16, seed=4)
    np.random.seed(5)
    got = RandomColorJitter(prob=1.0)({"img": image.copy()})["img"]
    np.random.seed(5)
    np.random.random()
    changed = Image.fromarray(image[..., ::-1])
    names = ("brightness", "contrast", "saturation", "hue")
    for index in np.random.permutation(4):
        low, high = (-0.1, 0.1) if index == 3 else (0.6, 1.4)
        adjust = getattr(functional, f"adjust_{names[index]}")
        changed = adjust(changed, np.random.uniform(low, high))
    assert (got == np.asarray(changed)[..., ::-1]).all()
    assert (got != image).any()
    np.random.seed(0)
    kept = [(RandomColorJitter()({"img": image})["img"] == image).all() for _ in range(200)]
    assert 70 < sum(kept) < 130


def test_impossible_options_are_answered():
    with pytest.raises(UserError, match="scale"):
        RandomScaleCrop((8, 8), scale=(2, 1))
    with pytest.raises(UserError, match="hue=0.7"):
        RandomColorJitter(hue=0.7)
    with pytest.raises(UserError, match="sigma"):
        RandomGaussianBlur(sigma=(0, 1))
    with pytest.raises(UserError, match="not both"):
        ResizeToScore()


@pytest.mark.parametrize(
    ("options", "size", "expected"),
    [
        (dict(size=(1914, 1052)), (1046, 1914), (1052, 1914)),
        (dict(height=1536), (768, 1023), (1536, 2046)),
        (dict(height=1536), (3000, 4003), (1536, 2049)),
    ],
)
def test_targets_are_scored_at_their_processed_size(options, size, expected):
    done = ResizeToScore(**options)(sample(*size, ori_shape=size))
    assert done["img"].shape[:2] == done["gt_seg_map"].shape == expected
    assert done["ori_shape"] == done["img_shape"] == expected


def columns(width):
    """An image whose values tell the column, and its label."""
    x = np.arange(width)
    image = np.broadcast_to((x // 10)[None, :, None], (1536, width, 3)).astype(np.uint8)
    label = np.broadcast_to((1 + x % 17)[None], (1536, width)).astype(np.uint8)
    return {"img": image, "gt_seg_map": label, "seg_fields": ["gt_seg_map"]}


def test_wide_images_lose_their_borders():
    """Check 17: of 2048 columns, 256 to 1791 stay."""
    results = columns(2048)
    for legacy in (False, True):
        done = CenterCropPad((1536, 1536), legacy=legacy)(dict(results))
        assert (done["img"] == results["img"][:, 256:1792]).all()
        assert (done["gt_seg_map"] == results["gt_seg_map"][:, 256:1792]).all()
        assert done["ori_shape"] == (1536, 1536)


def test_narrow_images_are_padded_on_both_sides():
    """Check 17: 1152 columns, 192 of padding on either side, unlabelled."""
    results = columns(1152)
    done = CenterCropPad((1536, 1536))(dict(results))
    assert (done["gt_seg_map"][:, :192] == 255).all()
    assert (done["gt_seg_map"][:, -192:] == 255).all()
    assert (done["img"][:, :192] == 0).all()
    assert (done["gt_seg_map"][:, 192:-192] == results["gt_seg_map"]).all()
    assert (done["img"][:, 192:-192] == results["img"]).all()


def test_the_legacy_padding_is_scored_as_road_and_shifts_the_image():
    """Check 17: 576 columns of label 0, then image columns 0 to 959."""
    results = columns(1152)
    done = CenterCropPad((1536, 1536), legacy=True)(dict(results))
    assert (done["gt_seg_map"][:, :576] == 0).all()
    assert (done["img"][:, :576] == 0).all()
    assert (done["gt_seg_map"][:, 576:] == results["gt_seg_map"][:, :960]).all()
    assert (done["img"][:, 576:] == results["img"][:, :960]).all()
