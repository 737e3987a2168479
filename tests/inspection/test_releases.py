"""Names of folders and files that say what ids they hold."""

from pathlib import Path

import pytest

from mmseg_uda.datasets import IDD, Cityscapes, Mapillary
from mmseg_uda.errors import UserError
from mmseg_uda.findings import Level
from mmseg_uda.inspection import collect, wrong_names, wrong_release
from mmseg_uda.inspection.releases import check_names
from mmseg_uda.taxonomy import DataLocation, load_taxonomy


def refused(type, taxonomy="cityscapes19", label_map=None, **options):
    location = DataLocation.create(type=type, data_root="/data", **options)
    return wrong_names(location, load_taxonomy(taxonomy), label_map)


RELEASE_2 = dict(img_dir="validation/images", label_dir="validation/v2.0/labels")


class TestVistas:
    """Mapillary Vistas 2.0 where 1.2 is read."""

    @pytest.mark.parametrize(
        ("taxonomy", "label_map"), [("cityscapes19", "mapillary12"), ("mapillary66", None)]
    )
    def test_the_folder(self, taxonomy, label_map):
        error = refused("Mapillary", taxonomy, label_map, **RELEASE_2)
        assert "/data/validation/v2.0/labels" in error.message and "2.0" in error.message
        assert "v1.2/labels" in error.fix

    def test_a_folder_that_an_alignment_is_compared_with(self):
        vistas, own = load_taxonomy("mapillary66"), {0: 0}
        folder = Path("/data/validation/v2.0/labels")
        assert "2.0" in wrong_release(folder, vistas, None).message
        assert wrong_release(folder, vistas, own) is None
        assert wrong_release(folder.parents[1] / "v1.2/labels", vistas, None) is None

    def test_an_own_map(self):
        assert refused("Mapillary", "cityscapes19", {21: 13}, **RELEASE_2) is None

    def test_release_1(self):
        assert refused("Mapillary", "mapillary66") is None

    def test_the_file_beside_it(self, tmp_path):
        (tmp_path / "config_v2.0.json").touch()
        item = dict(type="Mapillary", data_root=str(tmp_path), taxonomy="mapillary66")
        item |= dict(img_dir="training/images", label_dir="training/labels")
        (one,) = collect([dict(val_dataloader=dict(dataset=item))], [])
        (finding,) = check_names(one)
        assert finding.level is Level.PROBLEM and "config_v2.0.json says" in finding.message
        assert "config_v1.2.json" in finding.fix
        (tmp_path / "config_v1.2.json").touch()  # both releases: the ids decide
        assert check_names(one) == []


@pytest.mark.parametrize(
    ("suffix", "label_map", "fix"),
    [
        ("_gtFine_labelIds.png", None, "label_map='cityscapes'"),
        ("_gtFine_labelIds.png", "gta16", "label_map='cityscapes'"),
        ("_gtFine_labelTrainIds.png", "cityscapes", "Leave label_map out"),
        ("_train_id.png", "gta", "Leave label_map out"),
        ("_gtFine_instanceIds.png", None, "one class id per pixel"),
        ("_gtFine_color.png", None, "one class id per pixel"),
        ("_gt_labelColor.png", None, "one class id per pixel"),
        ("_gt_invIds.png", None, "one class id per pixel"),
        ("_gtFine_labellevel3Ids.png", None, "taxonomy='idd26'"),
        ("_gtFine_labelIds.png", "cityscapes", None),
        ("_gtFine_labelIds.png", {7: 0}, None),
        ("_gtFine_labelTrainIds.png", None, None),
        ("_gtFine_labelTrainIds.png", "gta16", None),
        ("_gtFine_labelcsTrainIds.png", None, None),
        (".png", None, None),
        ("_ids.png", None, None),
    ],
)
def test_endings_of_label_files(suffix, label_map, fix):
    error = refused("Cityscapes", label_map=label_map, label_suffix=suffix)
    assert error is None if fix is None else (suffix in error.message and fix in error.fix)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_levels_of_idd(level):
    error = refused("IDD", "idd26", label_suffix=f"_gtFine_labellevel{level}Ids.png")
    assert (error is None) == (level == 3)
    assert error is None or "labellevel3Ids" in error.fix


@pytest.mark.parametrize("kind", ["CamVid", "TaxonomyDataset"])
@pytest.mark.parametrize("label_map", ["camvid", None])
def test_colours_of_camvid(kind, label_map):
    folders = dict(img_dir="701_StillsRaw_full", label_dir="LabeledApproved_full")
    error = refused(kind, "camvid11", label_map, **folders, label_suffix="_L.png")
    assert "colour-coded labels of 32 classes" in error.message
    assert "camvid.py /data --gt-dir LabeledApproved_full" in error.fix
    converted = dict(folders, label_suffix="_L_labelTrainIds.png")
    assert refused(kind, "camvid11", **converted) is None
    assert "Leave label_map out" in refused(kind, "camvid11", "camvid", **converted).fix


def test_own_taxonomies_have_ids_of_any_name(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("name: own\nclasses: [{name: a, color: [1, 2, 3], group: a, prompts: [a]}]\n")
    assert refused("Cityscapes", str(path), label_suffix="_labelIds.png") is None


def test_a_data_set_refuses_them_when_it_is_built():
    options = dict(data_root="/nowhere", test_mode=True, lazy_init=True)
    with pytest.raises(UserError, match=r"v2\.0/labels holds labels of Mapillary Vistas 2\.0"):
        Mapillary(**options, **RELEASE_2, label_map="mapillary12")
    with pytest.raises(UserError, match="hold label ids"):
        Cityscapes(**options, label_suffix="_gtFine_labelIds.png")
    with pytest.raises(UserError, match="hold level ids"):
        IDD(**options)
