from __future__ import annotations

import numpy as np
import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.miniworld.canvas import Camera, Canvas, Ids
from mmseg_uda.miniworld.catalogue import get_domain
from mmseg_uda.miniworld.domains import DOMAINS, render
from mmseg_uda.miniworld.shapes import Brush
from mmseg_uda.miniworld.style import blend, cityscapes_style, neutral_style, synthia_style
from mmseg_uda.miniworld.vehicles import draw_articulated_bus, draw_van


@pytest.fixture(scope="module")
def frames():
    return {
        name: [render(DOMAINS[name], "train", i, seed=5) for i in range(12)]
        for name in ("gta", "synthia", "cityscapes")
    }


def test_equal_arguments_give_equal_pixels(frames):
    again = render(DOMAINS["gta"], "train", 3, seed=5)
    assert np.array_equal(again.image, frames["gta"][3].image)
    assert np.array_equal(again.label, frames["gta"][3].label)
    assert np.array_equal(again.inverse, frames["gta"][3].inverse)


@pytest.mark.parametrize(
    "other", [("gta", "train", 4, 5), ("gta", "val", 3, 5), ("gta", "train", 3, 6)]
)
def test_index_split_and_seed_change_the_scene(frames, other):
    name, split, index, seed = other
    frame = render(DOMAINS[name], split, index, seed)
    assert not np.array_equal(frame.label, frames["gta"][3].label)


@pytest.mark.parametrize("name", ["gta", "cityscapes"])
def test_all_classes_appear(frames, name):
    seen = set(np.unique(np.stack([f.label for f in frames[name]])).tolist())
    assert seen - {255} == set(range(19))


@pytest.mark.parametrize("class_id", [Ids.TERRAIN, Ids.TRUCK, Ids.TRAIN])
def test_synthia_has_nothing_of_the_classes_that_it_does_not_label(frames, class_id):
    assert not any((f.label == class_id).any() for f in frames["synthia"])


@pytest.mark.parametrize(
    ("painter", "class_id"), [(draw_van, Ids.CAR), (draw_articulated_bus, Ids.BUS)]
)
def test_look_alikes_of_new_classes_have_the_class_that_synthia_knows(painter, class_id):
    for yaw in (0.0, np.pi / 2, np.pi):
        canvas = Canvas(Camera(256, 128, 140.0, 50.0, 1.8))
        painter(Brush(canvas, synthia_style(), np.random.default_rng(0)), 0.5, 14.0, yaw)
        assert set(np.unique(canvas.label)) == {class_id, Ids.SKY}
        assert (canvas.instance > 0).sum() == (canvas.label == class_id).sum() > 200


def test_depth_is_positive_except_for_the_sky(frames):
    for frame in frames["gta"]:
        sky = frame.label == Ids.SKY
        assert not frame.inverse[sky].any()
        assert (frame.inverse[~sky] > 0).all()


def test_strength_changes_the_target_and_not_the_labels():
    weak, strong = (render(DOMAINS["cityscapes"], "val", 0, 5, s) for s in (0.1, 0.9))
    assert np.array_equal(weak.label, strong.label)
    assert not np.array_equal(weak.image, strong.image)
    source = [render(DOMAINS["gta"], "train", 0, 5, s).image for s in (0.1, 0.9)]
    assert np.array_equal(*source)


def test_a_blend_of_zero_and_one_are_the_ends():
    first, second = neutral_style(), cityscapes_style()
    assert np.array_equal(blend(first, second, 0.0).palette, first.palette)
    assert blend(first, second, 1.0).haze == second.haze
    assert blend(first, second, 0.5).noise == pytest.approx((first.noise + second.noise) / 2)


def test_bonnet_and_border_are_unlabelled(frames):
    frame = frames["cityscapes"][0]
    assert set(np.unique(frame.border)) == {0, 1, 2, 3}
    assert (frame.label[frame.border > 0] == 255).all()
    assert (frame.border[0] == 2).all()
    assert not frames["gta"][0].border.any()


def test_weather_takes_turns_in_acdc():
    frames = [render(DOMAINS["acdc"], "train", i, seed=5) for i in range(4)]
    assert [f.weather for f in frames] == ["fog", "night", "rain", "snow"]
    brightness = [f.image.mean() for f in frames]
    assert np.argmin(brightness) == 1


def test_the_image_size_is_free():
    frame = render(DOMAINS["cityscapes"], "train", 0, seed=5, width=320, height=192)
    assert frame.image.shape == (192, 320, 3)
    assert frame.label.shape == frame.inverse.shape == (192, 320)


def test_an_unknown_domain_is_named():
    with pytest.raises(UserError, match="kitti"):
        get_domain("kitti")
