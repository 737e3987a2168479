"""Options of a data set: which are refused, and whom messages about missing files address."""

import re

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.taxonomy import DataLocation, missing_paths

DOWNLOADS = ("download", "http", "cityscapes-dataset", "convert_datasets")


def own(**options):
    return DataLocation.create(**{**dict(data_root="x", img_dir="a", label_dir="b"), **options})


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        (dict(ann_file="train.txt"), "file_list"),
        (dict(data_prefix=dict(img_path="a")), "img_dir and label_dir"),
        (dict(seg_map_suffix=".png"), "label_suffix"),
        (dict(reduce_zero_label=True), r"label_map=\{0: 255"),
        (dict(filter_cfg=dict(filter_empty_gt=True)), "file_list"),
        (dict(backend_args=dict(backend="petrel")), "read from disk"),
        (dict(ignore_index=0), "taxonomy's ignore_index"),
        (dict(classes=("road",)), "taxonomy"),
        (dict(metainfo=dict(classes=("road",))), "YAML file with your classes"),
        (dict(metainfo=dict(palette=[[0, 0, 0]])), "YAML file with your classes"),
        (dict(metainfo=dict(label_map={0: 1})), "YAML file with your classes"),
        (dict(split="val"), "img_dir and label_dir"),
        (dict(indices=0), "A number takes that many"),
        (dict(indices=["a"]), "A number takes that many"),
        (dict(img_sufix=".png"), r"Did you mean img_suffix\?"),
        (dict(img_suffix="*.png"), "one ending"),
        (dict(img_suffix=[".png", ".jpg"]), "one ending"),
        (dict(label_suffix=""), "one ending"),
        (dict(img_dir=7), "one path"),
        (dict(label_map={0: 1}, pipeline=[dict(type="LoadAnnotations")]), "LoadTrainIds"),
        (dict(img_dir=["a", "b"]), "one path"),
        (dict(label_dir="a"), "label_suffix"),
        (dict(crop_pseudo_margins=[1, 1, 1, 1], pipeline=[dict(type="LoadFrame")]), "MarkValid"),
        (
            dict(crop_pseudo_margins=[1] * 4, pipeline=[dict(type="MarkValid", margins=[2] * 4)]),
            "Set one",
        ),
    ],
)
def test_what_would_have_no_effect_is_refused(option, instead):
    with pytest.raises(UserError, match="TaxonomyDataset") as caught:
        own(**option)
    assert re.search(instead, caught.value.fix)


@pytest.mark.parametrize(
    "option",
    [
        dict(ann_file=""),
        dict(data_prefix=dict(img_path="", seg_map_path="")),
        dict(reduce_zero_label=False),
        dict(filter_cfg=None),
        dict(ignore_index=255),
        dict(metainfo=dict(name="mine")),
        dict(indices=-3),
        dict(indices=[0, 2]),
        dict(_scope_="mmseg"),
        dict(crop_pseudo_margins=[1, 1, 1, 1], pipeline=[dict(type="MarkValid")]),
        dict(label_dir="a", label_suffix="_label.png"),
    ],
)
def test_what_asks_for_nothing_or_has_an_effect_is_taken(option):
    assert own(**option).img_suffix == ".png"


def test_the_dot_of_an_ending_may_be_left_out():
    location = own(img_suffix="jpg", label_suffix="png", depth_suffix="png")
    assert location.label_name("a/1.jpg") == location.depth_name("a/1.jpg") == "a/1.png"
    assert own(label_suffix="_png").label_suffix == "_png"


def test_labels_beside_images_are_no_images(tmp_path):
    for name in ("1.png", "1_label.png", "2.png", "2_label.png", "depth/1.png"):
        (tmp_path / "all" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / name).touch()
    options = dict(data_root=str(tmp_path), img_dir="all", label_dir="all", depth_dir="all/depth")
    location = DataLocation.create(**options, label_suffix="_label.png")
    assert location.images() == ["1.png", "2.png"]
    assert location.missing() == []
    nested = DataLocation.create(data_root=str(tmp_path), img_dir="", label_dir="all")
    assert nested.image_folder == tmp_path
    with pytest.raises(UserError, match="is missing"):
        nested.images()


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


class TestOwnFiles:
    """No message sends the owner of files to somebody else's."""

    CASES = (
        dict(type="TaxonomyDataset", img_dir="images", label_dir="labels"),
        dict(type="Cityscapes", img_dir="images", label_dir="labels", img_suffix=".png"),
        dict(type="Cityscapes"),
        dict(type="GTA", label_dir="masks"),
        dict(type="ACDC", img_dir="images", images_only=True),
        dict(type="BDD100K", img_suffix=".JPG"),
        dict(type="Cityscapes", img_dir="images", label_dir="labels", file_list="list.txt"),
    )

    @pytest.mark.parametrize("case", CASES)
    @pytest.mark.parametrize("there", ["other/1.txt", "images/1.png", "images/1.JPG"])
    def test_none_of_them_names_a_download(self, tmp_path, case, there):
        touch(tmp_path / "world" / there)
        for path in missing_paths({**case, "data_root": str(tmp_path / "world")}):
            assert not any(word in path.fix for word in DOWNLOADS), path.fix

    @pytest.mark.parametrize("there", ["images/1.png", "images/1.JPG"])
    def test_own_folders_below_a_published_name(self, tmp_path, there):
        touch(tmp_path / "cityscapes" / there)
        own = dict(img_dir="images", label_dir="labels", img_suffix=".png")
        case = dict(type="Cityscapes", data_root=f"{tmp_path}/cityscapes", **own)
        missing = missing_paths(case)
        assert missing
        assert not any(word in path.fix for word in DOWNLOADS for path in missing)

    def test_a_label_that_is_called_otherwise(self, tmp_path):
        touch(tmp_path / "images/1.png")
        touch(tmp_path / "labels/1.PNG")
        case = dict(data_root=str(tmp_path), img_dir="images", label_dir="labels")
        for kind in ("TaxonomyDataset", "Cityscapes"):
            options = dict(img_suffix=".png", label_suffix=".png")
            (missing,) = missing_paths({"type": kind, **case, **options})
            assert "There is 1.PNG" in missing.fix and "label_suffix" in missing.fix

    def test_images_that_end_otherwise(self, tmp_path):
        touch(tmp_path / "images/1.JPG")
        options = dict(data_root=str(tmp_path), img_dir="images", images_only=True)
        (missing,) = missing_paths(dict(type="TaxonomyDataset", img_suffix=".jpg", **options))
        assert "such as 1.JPG" in missing.fix and "img_suffix='.jpg'" in missing.fix

    def test_raw_labels_under_the_published_names_are_converted(self, tmp_path):
        touch(tmp_path / "mine/images/00001.png")
        touch(tmp_path / "mine/labels/00001.png")
        (missing,) = missing_paths({"type": "GTA", "data_root": f"{tmp_path}/mine"})
        assert "convert_datasets/gta.py" in missing.fix and "label_suffix" in missing.fix

    def test_depth_is_rendered_for_these_images(self, tmp_path):
        touch(tmp_path / "my images/1.png")
        options = dict(data_root=str(tmp_path), img_dir="my images", images_only=True)
        for kind in ("TaxonomyDataset", "Cityscapes"):
            location = DataLocation.create(kind, **options, img_suffix=".png", depth_suffix=".png")
            fix = location.depth_fix()
            assert f"--images '{tmp_path}/my images'" in fix and "CDDA" not in fix

    def test_the_published_data_set_under_its_own_name_is_one(self, tmp_path):
        touch(tmp_path / "cityscapes/readme.txt")
        missing = missing_paths({"type": "Cityscapes", "data_root": f"{tmp_path}/cityscapes"})
        assert all("cityscapes-dataset.com" in path.fix for path in missing)
