"""One odd file among many does not end a conversion: it is left out, and told at the end."""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest
from tiny_data import write_image, write_label, write_palette_label, write_synthia_label

from mmseg_uda.errors import UserError
from mmseg_uda.labels import batches as batches_module
from mmseg_uda.labels import convert_cityscapes, convert_gta, convert_gta16, convert_synthia
from mmseg_uda.labels.batches import HOPELESS, run

ROAD = {"label": "road", "polygon": [[0, 0], [9, 0], [9, 5], [0, 5]]}
SOUND = {"imgWidth": 10, "imgHeight": 6, "objects": [ROAD]}


def annotate(root, number, content, split="train"):
    path = root / f"gtFine/{split}/ulm/ulm_{number}_gtFine_polygons.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def converted(root):
    return sorted(p.name[:5] for p in root.glob("gtFine/*/ulm/*labelTrainIds.png"))


def in_statistics(root):
    entries = json.loads((root / "sample_class_stats.json").read_text())
    return [os.path.basename(entry["file"])[:5] for entry in entries]


ODD = {
    "truncated": (json.dumps(SOUND)[:-5], "is not valid JSON"),
    "empty": ("", "is not valid JSON"),
    "nested": ("[" * 100_000, "is not valid JSON"),
    "a list": ("[]", "is no polygon annotation"),
    "without width": ({**SOUND, "imgWidth": None}, "is no polygon annotation"),
    "without size": ({"objects": []}, "imgWidth"),
    "without objects": ({"imgWidth": 10, "imgHeight": 6}, "objects"),
    "negative": ({**SOUND, "imgHeight": -6}, "is no polygon annotation"),
    "other names": ({**SOUND, "objects": [{**ROAD, "label": "dragon"}]}, "'dragon' is no label"),
    "no name": ({**SOUND, "objects": [{"polygon": []}]}, "is no polygon annotation"),
    "number as name": ({**SOUND, "objects": [{**ROAD, "label": 7}]}, "is no polygon annotation"),
    "another size": ({**SOUND, "imgHeight": 7}, "has 10x7 pixels, its image"),
}


@pytest.mark.parametrize("nproc", [1, 2])
def test_odd_annotations(tmp_path, nproc):
    """All kinds at once: every one is named, everything else is done."""
    for number in range(2):
        annotate(tmp_path, number, SOUND)
    annotate(tmp_path, 2, SOUND, "val")
    odd = {annotate(tmp_path, 3 + i, one[0]): one[1] for i, one in enumerate(ODD.values())}
    name = f"ulm_{3 + list(ODD).index('another size')}"
    write_image(tmp_path / f"leftImg8bit/train/ulm/{name}_leftImg8bit.png", 6, 10)
    with pytest.raises(UserError) as error:
        convert_cityscapes(tmp_path, nproc=nproc)
    assert converted(tmp_path) == ["ulm_0", "ulm_1", "ulm_2"]
    assert in_statistics(tmp_path) == ["ulm_0", "ulm_1"]
    assert (tmp_path / "train.txt").read_text() == "ulm/ulm_0\nulm/ulm_1\n"
    text = str(error.value)
    assert f"{len(ODD)} of 15 files could not be converted (3 were)" in text
    told = [line for line in text.splitlines() if line.startswith("  • ")]
    assert told[-1] == "  • and 2 more" and len(told) == 11
    for (path, message), line in zip(sorted(odd.items()), told[:-1], strict=False):
        assert str(path) in line and message in line


@pytest.mark.parametrize("kind", ODD)
def test_each_kind_is_named_alone(tmp_path, kind):
    annotate(tmp_path, 0, SOUND)
    path = annotate(tmp_path, 1, ODD[kind][0])
    write_image(tmp_path / "leftImg8bit/train/ulm/ulm_1_leftImg8bit.png", 6, 10)
    with pytest.raises(UserError, match=r"1 of 2 files") as error:
        convert_cityscapes(tmp_path)
    assert str(path) in error.value.message and ODD[kind][1] in error.value.message
    assert converted(tmp_path) == ["ulm_0"]


UNDRAWN = [
    [],
    [[5, 5]],
    [[5]],
    [[0, 0], [3, "x"], [5, 5]],
    [[0, 0], [3, float("nan")], [5, 5]],
    [[20, 20], [30, 20], [30, 30]],
    [[-9, -9], [-2, -9], [-2, -2]],
    None,
    "polygon",
]


@pytest.mark.parametrize("polygon", UNDRAWN)
def test_what_cannot_be_drawn_is_left_out_with_a_warning(tmp_path, capsys, polygon):
    path = annotate(
        tmp_path, 0, {**SOUND, "objects": [ROAD, {"label": "pole", "polygon": polygon}]}
    )
    annotate(tmp_path, 1, SOUND)
    convert_cityscapes(tmp_path)
    assert converted(tmp_path) == ["ulm_0", "ulm_1"]
    assert in_statistics(tmp_path) == ["ulm_0", "ulm_1"]
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Warning:")]
    assert len(told) == 1
    assert "1 of 2 files" in told[0] and "left out" in told[0] and f"{path}: pole" in told[0]


def test_polygons_over_the_border_are_drawn_in_silence(tmp_path, capsys):
    car = {"label": "car", "polygon": [[-3, -3], [2, -3], [2, 2], [-3, 2]]}
    annotate(tmp_path, 0, {**SOUND, "objects": [ROAD, car]})
    convert_cityscapes(tmp_path)
    assert "Warning" not in capsys.readouterr().err
    assert json.loads((tmp_path / "sample_class_stats.json").read_text())[0]["13"] == 9


CONVERTERS = {
    "gta": (convert_gta, write_palette_label, "labels", "images"),
    "gta16": (convert_gta16, write_palette_label, "labels", "images"),
    "synthia": (convert_synthia, write_synthia_label, "GT/LABELS", "RGB"),
}


@pytest.mark.parametrize("name", CONVERTERS)
class TestRasters:
    """Label files of GTA and SYNTHIA."""

    def world(self, root, name):
        convert, write, labels, images = CONVERTERS[name]
        for number in range(5):
            write(root / labels / f"{number}.png", np.full((6, 10), 7))
            write_image(root / images / f"{number}.png", 6, 10)
        return convert, write, root / labels

    def check(self, root, convert, labels, message):
        with pytest.raises(UserError, match=message) as error:
            convert(root, nproc=1)
        assert str(labels / "3.png") in error.value.message and "1 of 5" in error.value.message
        names = sorted(p.name for p in labels.glob("*_labelTrainIds.png"))
        assert names == [f"{i}_labelTrainIds.png" for i in (0, 1, 2, 4)]
        assert len(json.loads((root / "sample_class_stats.json").read_text())) == 4

    def test_truncated(self, tmp_path, name):
        convert, _, labels = self.world(tmp_path, name)
        path = labels / "3.png"
        path.write_bytes(path.read_bytes()[:-30])
        self.check(tmp_path, convert, labels, "cannot be decoded")

    def test_of_another_size_than_the_image(self, tmp_path, name):
        convert, write, labels = self.world(tmp_path, name)
        write(labels / "3.png", np.full((4, 10), 7))
        self.check(tmp_path, convert, labels, r"has 10x4 pixels, its image .*3\.png 10x6")

    def test_of_another_type(self, tmp_path, name):
        convert, _, labels = self.world(tmp_path, name)
        write_image(labels / "3.png", 6, 10)
        self.check(tmp_path, convert, labels, "pixels of type RGB|not a 16-bit PNG")

    def test_ids_that_the_data_set_does_not_have(self, tmp_path, name, capsys):
        convert, write, labels = self.world(tmp_path, name)
        write(labels / "3.png", np.full((6, 10), 99))
        convert(tmp_path, nproc=1)
        told = capsys.readouterr().err
        assert "Warning: 1 of 5 files" in told and f"{labels / '3.png'}: 99" in told

    def test_train_ids(self, tmp_path, name, capsys):
        convert, write, labels = self.world(tmp_path, name)
        for number in range(5):
            write(labels / f"{number}.png", np.tile([0, 10, 255, 18, 13], (6, 2)))
        convert(tmp_path, nproc=1)
        told = {
            "gta16": "its labels hold trainIds already; gta16 is applied to them",
        }.get(name, "Warning: 5 of 5 files: their ids look like trainIds")
        assert told in capsys.readouterr().err


def test_label_ids_of_cityscapes_of_another_size(tmp_path):
    for number, height in ((0, 6), (1, 5)):
        write_label(
            tmp_path / f"gtFine/train/ulm/ulm_{number}_gtFine_labelIds.png",
            np.full((height, 10), 7),
        )
        write_image(tmp_path / f"leftImg8bit/train/ulm/ulm_{number}_leftImg8bit.png", 6, 10)
    with pytest.raises(UserError, match="ulm_1_gtFine_labelIds.png has 10x5 pixels"):
        convert_cityscapes(tmp_path)
    assert converted(tmp_path) == ["ulm_0"]


def test_where_nothing_can_be_converted_the_job_ends_early(tmp_path):
    seen = []

    def convert(path):
        seen.append(path)
        raise UserError(f"{path} is odd.")

    batch = run(convert, [tmp_path / str(i) for i in range(1000)], 1, "Converting")
    assert len(seen) == HOPELESS
    with pytest.raises(UserError, match=r"20 of 1000 files .* \(none was\)"):
        batch.tell()


def test_earlier_statistics_stay_where_nothing_was_converted(tmp_path):
    annotate(tmp_path, 0, SOUND)
    convert_cityscapes(tmp_path)
    before = (tmp_path / "sample_class_stats.json").read_text()
    annotate(tmp_path, 0, "{")
    with pytest.raises(UserError, match="none was"):
        convert_cityscapes(tmp_path)
    assert (tmp_path / "sample_class_stats.json").read_text() == before


def test_a_full_disk_is_no_odd_file(tmp_path, monkeypatch):
    for number in range(3):
        write_palette_label(tmp_path / f"labels/{number}.png", np.full((2, 2), 7))
    from mmseg_uda.labels import gta

    def full(path, label):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(gta, "write_label", full)
    with pytest.raises(OSError, match="No space left"):
        convert_gta(tmp_path, nproc=1)


def test_what_nobody_thought_of_is_named(tmp_path):
    def convert(path):
        raise ZeroDivisionError("odd")

    batch = run(convert, [tmp_path / "a.png"], 1, "Converting")
    with pytest.raises(UserError, match=r"a\.png: ZeroDivisionError: odd"):
        batch.tell()
    assert batches_module.Batch({}, 0).tell() is None
