from __future__ import annotations

import numpy as np
import pytest

from mmseg_uda.miniworld.canvas import Camera, Canvas, Ids, clip_near
from mmseg_uda.miniworld.shapes import billboard, ground, rectangle
from mmseg_uda.taxonomy import load_taxonomy

GREY = np.array([100.0, 100, 100])


@pytest.fixture
def canvas():
    return Canvas(Camera(width=101, height=60, focal=100, horizon=20, eye=2.0))


def wall(x0, x1, top, z):
    return billboard(0.0, z, rectangle(x0, 0, x1, top))


def test_ids_are_the_trainids_of_the_taxonomy():
    classes = load_taxonomy("cityscapes19").classes
    assert len(classes) == len(Ids)
    names = {Ids.LIGHT: "traffic light", Ids.SIGN: "traffic sign"}
    assert [names.get(i, i.name.lower()) for i in Ids] == list(classes)


def test_a_point_on_the_axis_projects_to_the_centre_and_the_horizon(canvas):
    assert canvas.camera.project(np.array([[0.0, 2.0, 7.0]])).tolist() == [[50.0, 20.0]]
    # 1 m to the right and 2 m below the eye at 10 m: 100/10 = 10 pixels per metre.
    assert canvas.camera.project(np.array([[1.0, 0.0, 10.0]])).tolist() == [[60.0, 40.0]]


def test_an_upright_plane_has_the_inverse_of_its_distance(canvas):
    canvas.paint([wall(-1, 1, 2, z=8.0)], Ids.WALL, GREY)
    assert np.allclose(canvas.inverse[canvas.label == Ids.WALL], 1 / 8)


def test_the_ground_is_at_focal_times_height_over_the_rows_below_the_horizon(canvas):
    canvas.paint([ground(-50, 50, 0.5, 500)], Ids.ROAD, GREY)
    # row 40: 100 · 2 / (40 − 20) = 10 m
    assert np.allclose(canvas.inverse[40], 0.1, atol=1e-6)


def test_what_is_nearer_hides_what_is_farther_in_either_order():
    labels = []
    for order in (1, -1):
        canvas = Canvas(Camera(101, 60, 100, 20, 2.0))
        walls = [(Ids.WALL, 5.0), (Ids.FENCE, 9.0)][::order]
        for class_id, z in walls:
            canvas.paint([wall(-1, 1, 2, z)], class_id, GREY)
        labels.append(canvas.label)
    assert np.array_equal(*labels)
    assert labels[0][30, 50] == Ids.WALL


def test_a_grazing_plane_stays_within_the_depth_of_its_corners(canvas):
    # 1 mm below the eye: the whole top is less than a pixel high.
    canvas.paint([ground(-3, 3, 10, 20, height=1.999)], Ids.CAR, GREY)
    seen = canvas.inverse[canvas.label == Ids.CAR]
    assert seen.size
    assert seen.min() >= 1 / 20 - 1e-6
    assert seen.max() <= 1 / 10 + 1e-6


def test_a_shadow_changes_colours_only(canvas):
    canvas.paint([ground(-50, 50, 0.5, 500)], Ids.ROAD, GREY)
    before = canvas.label.copy(), canvas.inverse.copy()
    canvas.paint([ground(-1, 1, 4, 8)], None, np.zeros(3), opacity=0.5)
    assert np.array_equal(before[0], canvas.label)
    assert np.array_equal(before[1], canvas.inverse)
    assert canvas.image[52, 50].tolist() == [50.0, 50.0, 50.0]


def test_a_polygon_that_passes_the_camera_is_cut_at_the_near_plane():
    cut = clip_near(ground(-1, 1, -5, 5), near=1.0)
    assert cut[:, 2].min() == 1.0
    assert cut[:, 2].max() == 5.0
    assert len(clip_near(ground(-1, 1, -5, 0.5), near=1.0)) == 0


def test_objects_get_instance_numbers_and_background_none(canvas):
    canvas.paint([wall(-5, 5, 3, 20.0)], Ids.BUILDING, GREY)
    first = canvas.begin_object()
    canvas.paint([wall(-1, 0, 2, 8.0)], Ids.PERSON, GREY)
    canvas.end_object()
    assert set(np.unique(canvas.instance[canvas.label == Ids.PERSON])) == {first}
    assert not canvas.instance[canvas.label == Ids.BUILDING].any()
