"""Curves from what a training logged, and the scales of their charts."""

import json

import pytest

from mmseg_uda.experiments import curves, history


def write(folder, attempt, entries):
    path = folder / attempt / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(json.dumps(entry) for entry in entries) + '\n{"cut off')


def test_a_resumed_attempt_replaces_what_it_repeats(tmp_path):
    write(tmp_path, "20260101_0", [{"step": s, "a.loss": s} for s in (10, 20, 30, 40)])
    write(tmp_path, "20260102_0", [{"step": s, "a.loss": -s} for s in (30, 40, 50)])
    found = history.read_scalars(tmp_path)
    assert found["a.loss"] == [(10, 10), (20, 20), (30, -30), (40, -40), (50, -50)]


def test_numbers_that_are_not_finite_are_left_out(tmp_path):
    write(tmp_path, "a", [{"step": 1, "loss": float("nan")}, {"step": 2, "loss": 3, "lr": 1}])
    assert history.losses(history.read_scalars(tmp_path)) == {"loss": [(2, 3.0)]}


def test_shares_become_per_cent():
    scalars = {"pseudo.confident": [(1, 0.25)], "pseudo.acc": [(1, 80.0)], "pseudo.share.car": []}
    assert history.quality(scalars) == {
        "pseudo.confident": [(1, 25.0)],
        "pseudo.acc": [(1, 80.0)],
    }


def test_thinning_averages_neighbours():
    points = [(float(i), float(i % 2)) for i in range(1000)]
    thinned = history.thin(points, 100)
    assert len(thinned) == 100
    assert all(y == 0.5 for _, y in thinned)
    assert thinned[0][0] == 4.5


def test_a_mean_has_only_what_all_seeds_have():
    assert history.average([[(1, 2.0), (2, 4.0)], [(1, 4.0), (3, 1.0)]]) == [(1, 3.0)]
    assert history.average([]) == []


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0, 40000, [0, 10000, 20000, 30000, 40000]),
        (0, 1.03, [0, 0.25, 0.5, 0.75, 1.0, 1.25]),
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (17.8, 65.0, [10, 20, 30, 40, 50, 60, 70]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low, high, expected):
    assert curves.ticks(low, high, 5) == pytest.approx(expected)


@pytest.mark.parametrize("value, text", [(40000, "40k"), (1200, "1200"), (0.25, "0.25"), (0, "0")])
def test_tick_texts(value, text):
    assert curves.number(value) == text


def test_no_curve_no_chart():
    assert curves.line_chart([curves.Line("a", 0, [])], "x", "y", "t") == ""
    assert curves.dot_chart([("a", 0, [], None)], "x", "t") == ""


def test_every_point_lies_inside_the_chart():
    line = curves.Line("a", 0, [(0, -3.0), (1234, 7.7), (40000, 0.1)])
    svg = curves.line_chart([line], "x", "y", "t")
    path = svg.split('d="M')[1].split('"')[0]
    for pair in path.split("L"):
        x, y = map(float, pair.split())
        assert curves.LEFT <= x <= curves.WIDTH - curves.RIGHT
        assert curves.TOP <= y <= curves.HEIGHT - curves.BOTTOM
