from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_data import write_label, write_palette_label, write_synthia_label

from mmseg_uda.errors import UserError
from mmseg_uda.labels import (
    convert_cityscapes,
    convert_gta,
    convert_gta16,
    convert_synthia,
)
from mmseg_uda.labels.cityscapes import LABELS, rasterize
from mmseg_uda.taxonomy import load_taxonomy

TOOLS = Path(__file__).parents[2] / "tools/convert_datasets"


def read(path):
    image = Image.open(path)
    assert image.mode == "L"
    return np.asarray(image)


def load(path):
    return json.loads(path.read_text())


def test_gta_palette_index_is_the_id(tmp_path):
    write_palette_label(tmp_path / "labels/00001.png", np.array([[7, 8, 0, 33]]))
    convert_gta(tmp_path, nproc=1)
    label = read(tmp_path / "labels/00001_labelTrainIds.png")
    assert label.tolist() == [[0, 1, 255, 18]]


def test_gta_all_raw_ids(tmp_path):
    raw = np.arange(256).reshape(16, 16)
    write_palette_label(tmp_path / "labels/1.png", raw)
    convert_gta(tmp_path, nproc=1)
    expected = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11}
    expected |= {25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    label = read(tmp_path / "labels/1_labelTrainIds.png").ravel().tolist()
    assert label == [expected.get(i, 255) for i in range(256)]


def test_synthia_class_is_the_red_channel_of_16_bits(tmp_path):
    write_synthia_label(tmp_path / "GT/LABELS/0000000.png", np.array([[3, 4, 16, 0, 21]]))
    convert_synthia(tmp_path, nproc=1)
    label = read(tmp_path / "GT/LABELS/0000000_labelTrainIds.png")
    assert label.tolist() == [[0, 1, 9, 255, 3]]
    (row,) = load(tmp_path / "sample_class_stats.json")
    assert row.pop("file") == f"{tmp_path}/GT/LABELS/0000000_labelTrainIds.png"
    assert row == {"0": 1, "1": 1, "9": 1, "3": 1}


def test_synthia_ids_above_eight_bits_are_ignored(tmp_path):
    write_synthia_label(tmp_path / "GT/LABELS/1.png", np.array([[259, 3]]))
    convert_synthia(tmp_path, nproc=1)
    assert read(tmp_path / "GT/LABELS/1_labelTrainIds.png").tolist() == [[255, 0]]


def test_statistics_files(tmp_path):
    write_palette_label(tmp_path / "labels/00001.png", np.array([[7, 7, 26, 0]]))
    write_palette_label(tmp_path / "labels/00002.png", np.array([[26, 26, 26, 26]]))
    convert_gta(tmp_path, out_dir=tmp_path / "out", nproc=1)
    first, second = (f"{tmp_path}/labels/0000{i}_labelTrainIds.png" for i in (1, 2))
    assert load(tmp_path / "out/sample_class_stats.json") == [
        {"0": 2, "13": 1, "file": first},
        {"13": 4, "file": second},
    ]
    assert load(tmp_path / "out/sample_class_stats_dict.json") == {
        first: {"0": 2, "13": 1},
        second: {"13": 4},
    }
    assert load(tmp_path / "out/samples_with_class.json") == {
        "0": [[first, 2]],
        "13": [[first, 1], [second, 4]],
    }


def test_converting_again_skips_converted_files(tmp_path):
    write_palette_label(tmp_path / "labels/00001.png", np.array([[7, 8]]))
    convert_gta(tmp_path, nproc=1)
    convert_gta(tmp_path, nproc=1)
    names = sorted(p.name for p in (tmp_path / "labels").iterdir())
    assert names == ["00001.png", "00001_labelTrainIds.png"]


def test_processes_do_not_change_the_result(tmp_path):
    for i in range(6):
        write_palette_label(tmp_path / f"labels/{i}.png", np.full((2, 3), 7 + i))
    convert_gta(tmp_path, nproc=1)
    one = load(tmp_path / "sample_class_stats.json")
    convert_gta(tmp_path, nproc=2)
    assert load(tmp_path / "sample_class_stats.json") == one


def test_gta16_equals_the_remapped_19_classes(tmp_path):
    raw = np.arange(35)[None]
    for name in ("a", "b"):
        write_palette_label(tmp_path / name / "labels/1.png", raw)
    convert_gta(tmp_path / "a", nproc=1)
    convert_gta16(tmp_path / "b", nproc=1)
    full, merged = (read(tmp_path / n / "labels/1_labelTrainIds.png") for n in ("a", "b"))
    expected = full.copy()
    for old, new in {9: 8, 14: 13, 16: 255}.items():
        expected[full == old] = new
    assert merged.tolist() == expected.tolist()


def test_gta16_statistics_are_summed(tmp_path):
    raw = np.repeat([21, 22, 26, 27, 31], [100, 50, 7, 3, 9])[None]
    write_palette_label(tmp_path / "labels/1.png", raw)
    convert_gta16(tmp_path, nproc=1)
    (row,) = load(tmp_path / "sample_class_stats.json")
    del row["file"]
    assert row == {"8": 150, "13": 10}


def test_gta16_does_not_overwrite_19_classes(tmp_path):
    write_palette_label(tmp_path / "labels/1.png", np.array([[7, 31]]))
    convert_gta(tmp_path, nproc=1)
    with pytest.raises(UserError, match="label_map='gta16'"):
        convert_gta16(tmp_path, nproc=1)


def polygon(label, x0, y0, x1, y1, **more):
    return {"label": label, "polygon": [[x0, y0], [x1, y0], [x1, y1], [x0, y1]], **more}


def annotation(*objects, width=8, height=4):
    return {"imgWidth": width, "imgHeight": height, "objects": list(objects)}


def test_polygons_later_over_earlier_on_255():
    label = rasterize(
        annotation(polygon("road", 0, 0, 7, 1), polygon("car", 2, 0, 3, 3)), Path("x.json")
    )
    assert label.tolist() == [
        [0, 0, 13, 13, 0, 0, 0, 0],
        [0, 0, 13, 13, 0, 0, 0, 0],
        [255, 255, 13, 13, 255, 255, 255, 255],
        [255, 255, 13, 13, 255, 255, 255, 255],
    ]


def test_polygons_group_deleted_negative_and_void():
    label = rasterize(
        annotation(
            polygon("road", 0, 0, 7, 3),
            polygon("persongroup", 0, 0, 1, 3),
            polygon("car", 2, 0, 3, 3, deleted=1),
            polygon("license plate", 4, 0, 5, 3),
            polygon("static", 6, 0, 7, 3),
        ),
        Path("x.json"),
    )
    assert label[0].tolist() == [11, 11, 0, 0, 0, 0, 255, 255]


def test_pole_group_is_a_label_of_its_own():
    assert LABELS["polegroup"] == 18
    label = rasterize(annotation(polygon("polegroup", 0, 0, 7, 3)), Path("x.json"))
    assert set(label.ravel().tolist()) == {255}


def test_label_names_have_the_published_ids():
    raw = load_taxonomy("cityscapes19").raw_ids["cityscapes"]
    names = {LABELS[name]: name for name in LABELS}
    classes = load_taxonomy("cityscapes19").classes
    assert [names[i] for i in sorted(raw, key=raw.get)] == list(classes)


def cityscapes(root, split, name, content):
    path = root / f"gtFine/{split}/city/{name}_gtFine_polygons.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_cityscapes_lists_and_statistics_of_the_training_split(tmp_path):
    cityscapes(tmp_path, "train", "city_1", annotation(polygon("road", 0, 0, 7, 3)))
    cityscapes(tmp_path, "train", "city_0", annotation(polygon("sky", 0, 0, 7, 3)))
    cityscapes(tmp_path, "val", "city_2", annotation(polygon("car", 0, 0, 7, 3)))
    convert_cityscapes(tmp_path)
    assert (tmp_path / "train.txt").read_text() == "city/city_0\ncity/city_1\n"
    assert (tmp_path / "val.txt").read_text() == "city/city_2\n"
    assert not (tmp_path / "test.txt").exists()
    rows = load(tmp_path / "sample_class_stats.json")
    folder = f"{tmp_path}/gtFine/train/city"
    assert rows == [
        {"10": 32, "file": f"{folder}/city_0_gtFine_labelTrainIds.png"},
        {"0": 32, "file": f"{folder}/city_1_gtFine_labelTrainIds.png"},
    ]
    assert (read(tmp_path / "gtFine/val/city/city_2_gtFine_labelTrainIds.png") == 13).all()


@pytest.mark.parametrize("folder", ["gtFine", "gtFine_trainvaltest/gtFine"])
def test_cityscapes_label_ids_where_polygons_are_missing(tmp_path, folder):
    stem = tmp_path / folder / "train/c/c_0_gtFine_label"
    write_label(Path(f"{stem}Ids.png"), np.array([[7, 33, 0, 18]]))
    convert_cityscapes(tmp_path)
    label = read(Path(f"{stem}TrainIds.png"))
    assert label.tolist() == [[0, 18, 255, 255]]


def test_unknown_polygon_label_is_named(tmp_path):
    cityscapes(tmp_path, "train", "city_0", annotation(polygon("dragon", 0, 0, 1, 1)))
    with pytest.raises(UserError, match="city_0_gtFine_polygons.json: 'dragon'"):
        convert_cityscapes(tmp_path)


@pytest.mark.parametrize("content", ["{", '{"objects": []}'])
def test_damaged_polygons_are_named(tmp_path, content):
    path = tmp_path / "gtFine/train/c/c_0_gtFine_polygons.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(UserError, match="c_0_gtFine_polygons.json"):
        convert_cityscapes(tmp_path)


@pytest.mark.parametrize("convert", [convert_gta, convert_synthia, convert_cityscapes])
def test_folder_without_labels_is_named(tmp_path, convert):
    with pytest.raises(UserError, match=str(tmp_path)):
        convert(tmp_path)


@pytest.mark.parametrize(
    ("convert", "name", "nproc"),
    [(convert_gta, "labels/1.png", 1), (convert_synthia, "GT/LABELS/1.png", 2)],
)
def test_truncated_label_is_named_and_leaves_no_file(tmp_path, convert, name, nproc):
    path = tmp_path / name
    write = write_palette_label if convert is convert_gta else write_synthia_label
    write(path, np.random.default_rng(0).integers(0, 20, (50, 50)))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"1\.png cannot be decoded"):
        convert(tmp_path, nproc=nproc)
    assert [p.name for p in path.parent.iterdir()] == ["1.png"]


def test_coloured_synthia_label_is_refused(tmp_path):
    path = tmp_path / "GT/LABELS/1.png"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (2, 2)).save(path)
    with pytest.raises(UserError, match="not a 16-bit PNG with three channels"):
        convert_synthia(tmp_path, nproc=1)


def test_command_line_of_the_original(tmp_path):
    write_synthia_label(tmp_path / "GT/LABELS/0.png", np.array([[3]]))
    command = [sys.executable, TOOLS / "synthia.py", f"{tmp_path}/", "--nproc", "2"]
    environment = {**os.environ, "PYTHONPATH": str(TOOLS.parents[1])}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    assert read(tmp_path / "GT/LABELS/0_labelTrainIds.png").tolist() == [[0]]
    assert (tmp_path / "samples_with_class.json").is_file()


@pytest.mark.parametrize("other", ["2.PNG", "3.jpg", "x/label.png"])
def test_labels_that_are_left_out_are_told(tmp_path, capsys, other):
    write_palette_label(tmp_path / "labels/00001.png", np.array([[7, 8]]))
    for name in (
        "00001_labelTrainIds.png",
        "00001_color.png",
        ".hidden/2.png",
        "readme.txt",
        other,
    ):
        (tmp_path / "labels" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "labels" / name).write_bytes(b"x")
    convert_gta(tmp_path, nproc=1)
    warning = capsys.readouterr().err
    assert "Warning: " in warning and "1 label files are converted; 1 with other names" in warning
    assert other in warning


def test_links_to_nothing_are_told(tmp_path, capsys):
    write_palette_label(tmp_path / "labels/00001.png", np.array([[7, 8]]))
    (tmp_path / "labels/00002.png").symlink_to("moved")
    convert_gta(tmp_path, nproc=1)
    assert "the first is 00002.png" in capsys.readouterr().err


def test_frames_of_cityscapes_without_annotation_are_told(tmp_path, capsys):
    write_label(tmp_path / "gtFine/train/ulm/a_gtFine_labelIds.png", np.array([[7]]))
    for name in ("a_gtFine_color.png", "a_gtFine_instanceIds.png"):
        (tmp_path / "gtFine/train/ulm" / name).write_bytes(b"x")
    convert_cityscapes(tmp_path)
    assert "Warning" not in capsys.readouterr().err
    (tmp_path / "gtFine/train/ulm/b_gtFine_color.png").write_bytes(b"x")
    convert_cityscapes(tmp_path)
    assert "ulm/b_gtFine_color.png" in capsys.readouterr().err


TRAIN_IDS = np.array([[9, 14, 16, 8], [13, 0, 18, 255]])


def test_gta16_of_labels_that_are_train_ids(tmp_path, capsys):
    write_palette_label(tmp_path / "labels/00001.png", TRAIN_IDS)
    write_palette_label(tmp_path / "labels/00002.png", np.array([[9, 9]]))  # nothing unlabelled
    convert_gta16(tmp_path)
    label = read(tmp_path / "labels/00001_labelTrainIds.png")
    assert label.tolist() == [[8, 13, 255, 8], [13, 0, 18, 255]]
    assert read(tmp_path / "labels/00002_labelTrainIds.png").tolist() == [[8, 8]]
    printed = capsys.readouterr()
    assert "hold trainIds already; gta16 is applied" in printed.err
    assert "Warning" not in printed.err
    assert "2 of 2 labels are converted to trainIds" in printed.out


@pytest.mark.parametrize("other", [[[26, 7]], [[33, 0]]])
def test_gta16_of_raw_labels_with_an_odd_one(tmp_path, other):
    write_palette_label(tmp_path / "labels/00001.png", TRAIN_IDS)
    write_palette_label(tmp_path / "labels/00002.png", np.array(other))
    convert_gta16(tmp_path)
    expected = [[{26: 13, 7: 0, 33: 18, 0: 255}[i] for i in other[0]]]
    assert read(tmp_path / "labels/00002_labelTrainIds.png").tolist() == expected


def test_gta16_of_train_ids_tells_a_raw_label_that_was_not_looked_at(tmp_path, capsys, monkeypatch):
    """Its ids went into the files as they are, where a training takes them for other classes."""
    monkeypatch.setattr("mmseg_uda.labels.gta.LOOKED_AT", 1)
    write_palette_label(tmp_path / "labels/00001.png", TRAIN_IDS)
    write_palette_label(tmp_path / "labels/00002.png", np.array([[9, 26, 33]]))
    convert_gta16(tmp_path, nproc=1)
    assert read(tmp_path / "labels/00002_labelTrainIds.png").tolist() == [[8, 255, 255]]
    told = capsys.readouterr().err
    assert "Warning: 1 of 2 files: they hold ids that are no trainIds" in told
    assert "00002.png: 26, 33" in told


def test_converters_say_what_they_did(tmp_path, capsys):
    write_palette_label(tmp_path / "labels/00001.png", np.array([[7, 8, 26]]))
    convert_gta(tmp_path, out_dir=tmp_path / "lists")
    told = capsys.readouterr().out
    assert f"1 of 1 labels are converted to trainIds: {tmp_path}/labels/**/*" in told
    assert f"3 classes. Their statistics are in {tmp_path}/lists" in told
