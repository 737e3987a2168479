from __future__ import annotations

import math

import numpy as np
import pytest
from tiny_data import write_image, write_label

from mmseg_uda.datasets import GTA, RareClassSampling, rare_class_probabilities
from mmseg_uda.datasets.transforms import CropFields, loading
from mmseg_uda.errors import UserError


def dataset(root, crop=(100, 100), scale=(200, 100)):
    pipeline = [
        {"type": "LoadFrame"},
        {"type": "LoadTrainIds"},
        {"type": "ResizeFields", "scale": scale},
        {"type": "CropFields", "crop_size": crop},
        {"type": "FlipFields"},
        {"type": "PackFields"},
    ]
    return GTA(data_root=str(root), pipeline=pipeline)


def frame(root, name, **pixels):
    """Writes a 200x100 frame of class 0 with the given numbers of pixels of other classes."""
    label = np.zeros(20000, np.uint8)
    start = 0
    for key, count in pixels.items():
        label[start : start + count] = int(key[1:])
        start += count
    write_image(root / f"images/{name}.png", 100, 200)
    write_label(root / f"labels/{name}_labelTrainIds.png", label.reshape(100, 200))


@pytest.mark.parametrize(
    ("pixels", "temperature", "expected"),
    [
        ((10, 90, 900), 0.1, (0.689909557, 0.309996347, 9.40960e-5)),
        ((10, 90, 900), 0.01, (0.999664650, 3.3535013e-4, 2.2e-39)),
        ((10, 90, 900), math.inf, (1 / 3, 1 / 3, 1 / 3)),
        ((1, 1, 2), 0.5, (0.38365173, 0.38365173, 0.23269654)),
    ],
)
def test_probabilities(pixels, temperature, expected):
    classes, probabilities = rare_class_probabilities(pixels, temperature)
    assert classes.tolist() == [0, 1, 2]
    assert probabilities.dtype == np.float32
    cold = temperature == 0.01  # the exponents near 100 leave fewer digits of float32
    np.testing.assert_allclose(probabilities[:2], expected[:2], rtol=2e-4 if cold else 1e-5)
    np.testing.assert_allclose(probabilities[2], expected[2], rtol=0.05 if cold else 1e-5)


def test_classes_that_do_not_occur_are_left_out_and_the_rest_sorted():
    classes, _ = rare_class_probabilities([900, 0, 10, 90], 0.1)
    assert classes.tolist() == [2, 3, 0]


def test_a_frame_needs_more_than_min_pixels(tmp_path):
    frame(tmp_path, "0", c5=3000)
    frame(tmp_path, "1", c5=3001)
    sampling = RareClassSampling(dataset(tmp_path), min_pixels=3000)
    assert sampling.files[5].tolist() == [1]
    assert sampling.files[0].tolist() == [0, 1]


def crops_until_accepted(root, monkeypatch, crop_pixels, min_pixels=3000, ratio=0.5):
    """Counts the crops that are looked at when each holds this many pixels of class 5."""
    frame(root, "0", c5=crop_pixels)
    data = dataset(root, crop=(100, 200))
    sampling = RareClassSampling(data, min_pixels=0, min_crop_ratio=ratio)
    sampling.min_pixels = min_pixels
    boxes = []
    choose = CropFields.choose_box
    monkeypatch.setattr(
        CropFields, "choose_box", lambda self, r: boxes.append(1) or choose(self, r)
    )
    sampling.sample(0, 5)
    return len(boxes)


@pytest.mark.parametrize(("pixels", "crops"), [(1500, 11), (1501, 1)])
def test_a_crop_needs_more_than_its_share(tmp_path, monkeypatch, pixels, crops):
    assert crops_until_accepted(tmp_path, monkeypatch, pixels) == crops


def test_ratio_0_takes_the_first_crop(tmp_path, monkeypatch):
    assert crops_until_accepted(tmp_path, monkeypatch, 1, ratio=0) == 1


def test_found_crop_holds_the_class(tmp_path):
    label = np.zeros((100, 200), np.uint8)
    label[:, 100:] = 5
    write_image(tmp_path / "images/0.png", 100, 200)
    write_label(tmp_path / "labels/0_labelTrainIds.png", label)
    sampling = RareClassSampling(dataset(tmp_path), min_pixels=3000, min_crop_ratio=1)
    np.random.seed(0)
    for _ in range(10):
        crop = sampling.sample(0, 5)["data_samples"].gt_sem_seg.data
        assert (crop == 5).sum() > 3000


def test_files_are_decoded_once_per_sample(tmp_path, monkeypatch):
    frame(tmp_path, "0", c5=3001)
    sampling = RareClassSampling(dataset(tmp_path, crop=(8, 8)), min_pixels=3000)
    reads = []
    for name in ("read_image", "read_train_ids"):
        function = getattr(loading, name)
        monkeypatch.setattr(loading, name, lambda *a, f=function, n=name: reads.append(n) or f(*a))
    sampling.sample(0, 5)
    assert reads == ["read_image", "read_train_ids"]


def test_draw_follows_the_probabilities(tmp_path):
    frame(tmp_path, "0", c5=100)
    frame(tmp_path, "1", c6=100)
    frame(tmp_path, "2", c6=100)
    sampling = RareClassSampling(dataset(tmp_path), min_pixels=50, class_temp=math.inf)
    rng = np.random.default_rng(0)
    draws = [sampling.draw(rng) for _ in range(3000)]
    frequency = [sum(c == k for _, c in draws) / 3000 for k in (0, 5, 6)]
    np.testing.assert_allclose(frequency, 1 / 3, atol=0.03)
    assert {i for i, c in draws if c == 5} == {0}
    assert {i for i, c in draws if c == 6} == {1, 2}


def test_class_without_a_frame_is_dropped(tmp_path):
    frame(tmp_path, "0", c5=100, c6=4000)
    sampling = RareClassSampling(dataset(tmp_path), min_pixels=3000)
    assert sorted(sampling.classes) == [0, 6]
    assert sampling.probabilities.sum() == pytest.approx(1)


def test_nothing_left_is_an_error(tmp_path):
    frame(tmp_path, "0", c5=100)
    with pytest.raises(UserError, match=r"(?s)min_pixels=30000; 1 label files.*Lower"):
        RareClassSampling(dataset(tmp_path), min_pixels=30000)


def test_share_of_the_image_in_place_of_pixels(tmp_path):
    frame(tmp_path, "0", c5=2000)
    frame(tmp_path, "1", c5=2001)
    sampling = RareClassSampling(dataset(tmp_path), min_share=0.1)
    assert sampling.files[5].tolist() == [1]


@pytest.mark.parametrize("options", [{"class_temp": 0}, {"min_share": 3000}])
def test_options_out_of_range_are_named(tmp_path, options):
    frame(tmp_path, "0", c5=2000)
    with pytest.raises(UserError, match=f"rare_class_sampling.{next(iter(options))}"):
        RareClassSampling(dataset(tmp_path), **options)


def test_pipeline_without_crop_is_refused(tmp_path):
    frame(tmp_path, "0", c5=2000)
    with pytest.raises(UserError, match="needs a CropFields"):
        RareClassSampling(GTA(data_root=str(tmp_path), pipeline=[{"type": "LoadFrame"}]))
