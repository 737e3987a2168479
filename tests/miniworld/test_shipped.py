"""Miniature weights that come with the package."""

import pytest
import torch

from mmseg_uda.files import read_json
from mmseg_uda.miniworld import WeightOptions, ensure_miniworld, shipped, stamps
from mmseg_uda.miniworld.prepare import WEIGHTS, recipe
from mmseg_uda.miniworld.shipped import SHIPPED, shipped_recipe, unpack


@pytest.mark.parametrize("name", WEIGHTS)
def test_they_are_made_by_todays_recipe(name):
    """Else every user trains them: python tools/ship_weights.py --only NAME makes them anew."""
    assert shipped_recipe(name) == recipe(name)


def test_they_are_small():
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 24 * 2**20


def test_nothing_is_rendered_or_trained_for_them(tmp_path):
    paths = ensure_miniworld(tmp_path / "data", tmp_path / "weights", domains=(), workers=1)
    assert set(paths.seconds) == set(paths.weights) == {"nano_backbone", "clip"}
    assert not (tmp_path / "data").exists()
    weights = torch.load(paths.weights["nano_backbone"], weights_only=True)
    assert all(torch.isfinite(value).all() for value in weights.values())
    assert read_json(paths.weights["clip"] / "open_clip_config.json")["model_cfg"]
    again = ensure_miniworld(tmp_path / "data", tmp_path / "weights", domains=(), workers=1)
    assert again.seconds == {}


def test_half_unpacked_and_older_ones_are_replaced(tmp_path):
    target = tmp_path / "clip"
    (tmp_path / ".clip.partial").mkdir()
    target.mkdir()
    (target / "old.txt").write_text("x")
    assert unpack("clip", recipe("clip"), target)
    assert {p.name for p in tmp_path.iterdir()} == {"clip"}
    assert {p.name for p in target.iterdir()} == {
        "open_clip_config.json",
        "open_clip_model.safetensors",
    }


def test_another_recipe_is_trained(tmp_path):
    options = WeightOptions(web_frames=6, backbone_steps=1)
    assert recipe("nano_backbone", options) != recipe("nano_backbone")
    paths = ensure_miniworld(tmp_path / "data", tmp_path / "w", None, (), options, 1, skip=["clip"])
    assert set(paths.seconds) == {"web", "nano_backbone"}


def test_what_is_packed_comes_out_again(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path / "shipped")
    made, out = tmp_path / "made/clip", tmp_path / "out"
    (made / "more").mkdir(parents=True)
    (made / "a.txt").write_text("a")
    (made / "more/b.bin").write_bytes(bytes(1000))
    out.mkdir()
    packed = shipped.ship("x", "today", made).read_bytes()
    assert shipped.ship("x", "today", made).read_bytes() == packed
    assert shipped_recipe("x") == "today" and shipped_recipe("y") is None
    assert not unpack("x", "tomorrow", out / "clip") and not list(out.iterdir())
    assert unpack("x", "today", out / "clip")
    assert (out / "clip/a.txt").read_text() == "a"
    assert (out / "clip/more/b.bin").read_bytes() == bytes(1000)


CODE = 'def f(x):\n    """Says."""\n    return x + 1  # why\n'


@pytest.mark.parametrize(
    "other, same",
    [
        (CODE, True),
        ("# A comment.\n\n" + CODE.replace("Says.", "Says it\n\n    at length.\n    "), True),
        (CODE.replace('    """Says."""\n', ""), True),
        (CODE.replace("x + 1", "x + 2"), False),
        (CODE.replace("return x", 'y = """Says."""\n    return x'), False),
    ],
)
def test_a_fingerprint_is_of_the_code(tmp_path, monkeypatch, other, same):
    monkeypatch.setattr(stamps, "_HERE", tmp_path)
    (tmp_path / "one.py").write_text(CODE)
    (tmp_path / "two.py").write_text(other)
    one, two = (stamps.fingerprint({"a": 1}, [name]) for name in ("one.py", "two.py"))
    assert (one == two) is same
    assert stamps.fingerprint({"a": 2}, ["one.py"]) != one
