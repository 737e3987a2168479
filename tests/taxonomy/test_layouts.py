from __future__ import annotations

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.taxonomy import (
    DataLocation,
    load_taxonomy,
    missing_paths,
)


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_everything_missing_names_folders_and_commands(tmp_path):
    pair = {
        "type": "DomainPairDataset",
        "source": {"type": "SYNTHIA", "data_root": f"{tmp_path}/synthia"},
        "target": {"type": "Cityscapes", "data_root": f"{tmp_path}/cs", "images_only": True},
    }
    missing = missing_paths(pair)
    assert [m.path for m in missing] == [
        f"{tmp_path}/synthia/RGB",
        f"{tmp_path}/synthia/GT/LABELS/**/*_labelTrainIds.png",
        f"{tmp_path}/cs/leftImg8bit/train",
    ]
    assert "synthia-dataset.net" in missing[0].fix
    assert f"python tools/convert_datasets/synthia.py {tmp_path}/synthia" in missing[1].fix
    assert "cityscapes-dataset.com" in missing[2].fix


def test_unconverted_labels_ask_for_the_converter_only(tmp_path):
    touch(tmp_path / "gta/images/00001.png")
    touch(tmp_path / "gta/labels/00001.png")
    (missing,) = missing_paths({"type": "GTA", "data_root": f"{tmp_path}/gta"})
    assert missing.path == f"{tmp_path}/gta/labels/00001_labelTrainIds.png"
    assert missing.fix == f"Run: python tools/convert_datasets/gta.py {tmp_path}/gta --nproc 8"


def test_complete_data_set_misses_nothing(tmp_path):
    touch(tmp_path / "images/00001.png")
    touch(tmp_path / "labels/00001_labelTrainIds.png")
    assert missing_paths({"type": "GTA", "data_root": str(tmp_path)}) == []


def test_empty_image_folder_names_the_pattern(tmp_path):
    (tmp_path / "rgb_anon/test").mkdir(parents=True)
    cfg = {"type": "ACDC", "data_root": str(tmp_path), "split": "test", "images_only": True}
    (missing,) = missing_paths(cfg)
    assert missing.path == f"{tmp_path}/rgb_anon/test/**/*_rgb_anon.png"


def test_other_packages_and_no_config_are_left_alone():
    assert missing_paths({"type": "CityscapesDataset", "data_root": "nowhere"}) == []
    assert missing_paths(None) == []


@pytest.mark.parametrize("layout", ["rgb_anon/{split}/a", "rgb_anon/fog/{split}/GOPR1"])
def test_acdc_flattened_and_as_downloaded(tmp_path, layout):
    for split in ("train", "val"):
        touch(tmp_path / layout.format(split=split) / f"{split}_rgb_anon.png")
    location = DataLocation.create(type="ACDC", data_root=str(tmp_path), split="val")
    (image,) = location.images()
    path = location.image_folder / image
    assert path == tmp_path / layout.format(split="val") / "val_rgb_anon.png"
    label = location.label_folder / location.label_name(image)
    folder = layout.format(split="val").replace("rgb_anon", "gt", 1)
    assert label == tmp_path / folder / "val_gt_labelTrainIds.png"


def test_split_without_labels_needs_images_only():
    with pytest.raises(UserError, match=r"(?s)train images of Dark Zurich have no labels.*images_"):
        DataLocation.create(type="DarkZurich")
    assert DataLocation.create(type="DarkZurich", images_only=True).label_dir is None


def test_unknown_split_lists_the_known_ones():
    with pytest.raises(UserError, match=r"(?s)GTA has no split 'val'.*train"):
        DataLocation.create(type="GTA", split="val")


def test_own_data_needs_its_folders():
    with pytest.raises(UserError, match="label_dir"):
        DataLocation.create(data_root="x", img_dir="images")
    own = DataLocation.create(data_root="x", img_dir="images", images_only=True, img_suffix=".jpg")
    assert own.label_name("a/b.jpg") == "a/b.png"


@pytest.mark.parametrize(
    ("images", "labels", "suffix"),
    [
        ("images/10k/val", "labels/sem_seg/masks/val", ".png"),
        ("images/val", "labels/val", ".png"),
        ("images/val", "labels/val", "_train_id.png"),
    ],
)
def test_bdd100k_in_each_of_its_layouts(tmp_path, images, labels, suffix):
    touch(tmp_path / images / "a.jpg")
    touch(tmp_path / labels / f"a{suffix}")
    location = DataLocation.create(type="BDD100K", data_root=str(tmp_path), split="val")
    assert location.images() == ["a.jpg"]
    assert location.label_folder / location.label_name("a.jpg") == tmp_path / labels / f"a{suffix}"
    assert location.missing() == []


@pytest.mark.parametrize("inner", ["{}", "{}_trainvaltest/{}"])
def test_cityscapes_with_each_archive_in_a_folder_of_its_own(tmp_path, inner):
    images, labels = (inner.format(name, name) for name in ("leftImg8bit", "gtFine"))
    touch(tmp_path / images / "val/a/a_0_leftImg8bit.png")
    make = dict(type="Cityscapes", data_root=str(tmp_path), split="val")
    (missing,) = DataLocation.create(**make).missing()
    label = tmp_path / labels / "val/a/a_0_gtFine_labelTrainIds.png"
    assert missing.path == str(label)  # where it is to be made
    touch(label)
    assert DataLocation.create(**make).missing() == []
    (image,) = DataLocation.create(**make, images_only=True).images()
    assert image == "a/a_0_leftImg8bit.png"


@pytest.mark.parametrize("labels", ["validation/labels", "validation/v1.2/labels"])
def test_mapillary_in_both_layouts(tmp_path, labels):
    touch(tmp_path / "validation/images/a.jpg")
    touch(tmp_path / labels / "a.png")
    location = DataLocation.create(type="Mapillary", data_root=str(tmp_path), split="val")
    assert location.label_folder == tmp_path / labels
    assert location.images() == ["a.jpg"]
    assert location.missing() == []


@pytest.mark.parametrize(
    ("kind", "page", "folder"),
    [
        ("BDD100K", "bdd-data.berkeley.edu", "labels/sem_seg/masks/val"),
        ("Mapillary", "mapillary.com/dataset/vistas", "validation/v1.2/labels"),
    ],
)
def test_absent_targets_name_their_download_page(tmp_path, kind, page, folder):
    targets = {"one": {"type": kind, "data_root": str(tmp_path), "split": "val"}}
    missing = missing_paths({"type": "MultiTargetDataset", "targets": targets})
    assert [m.path for m in missing][1] == f"{tmp_path}/{folder}/**/*.png"
    assert all(page in m.fix for m in missing)


def test_mapillary_reaches_all_classes_from_25_ids():
    table = load_taxonomy("cityscapes19").lookup("mapillary12")[:66]
    mapped = [value for value in table if value != 255]
    assert len(mapped) == 25
    assert set(mapped) == set(range(19))
    spots = {2: 1, 24: 0, 41: 0, 49: 255, 46: 255}
    assert {i: table[i] for i in spots} == spots
    published = """255 255 1 4 255 255 3 255 255 255 255 255 255 0 255 1 255 2 255 11 12 12 12 255 0
        255 255 10 255 9 8 255 255 255 255 255 255 255 255 255 255 0 255 255 255 5 255 5 6 255 7 255
        18 255 15 13 255 17 16 255 255 14 255 255 255 255"""
    assert table == [int(value) for value in published.split()]


def test_rendered_streets_name_the_command_that_draws_them(tmp_path):
    config = {"type": "MiniGTA", "data_root": f"{tmp_path}/streets/gta/"}
    images, labels = missing_paths(config)
    assert images.fix == labels.fix
    assert f"tools/make_miniworld.py --out {tmp_path}/streets --domains gta" in images.fix
    beside = missing_paths({"type": "MiniGTA", "data_root": "gta"})
    assert "--out . --domains gta" in beside[0].fix
