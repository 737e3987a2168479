"""What is used is compared with what is there: names and sizes, no content."""

import os

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.findings import Level
from mmseg_uda.inspection import collect, inspect_data_set
from mmseg_uda.inspection.files import check_files
from mmseg_uda.taxonomy import LAYOUTS


def write(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def told(root, **options):
    """What is found in 'images', with labels in 'labels' unless options say otherwise."""
    item = dict(type="TaxonomyDataset", data_root=str(root), img_dir="images", label_dir="labels")
    problems = []
    (one,) = collect([dict(val_dataloader=dict(dataset={**item, **options}))], problems)
    assert not problems
    return check_files(one)


def only(findings, level=Level.WARNING):
    (finding,) = findings
    assert finding.level is level and finding.fix
    return finding.message


TARGET = dict(label_dir=None, images_only=True)


class TestOtherEndings:
    """Images that are left out."""

    @pytest.mark.parametrize(
        ("used", "others", "kinds"),
        [
            (".jpg", ("2.JPG", "3.jpeg", "4.JPG"), "3 files with other endings (.JPG 2, .jpeg 1)"),
            (".png", ("a/2.PNG",), "1 files with other endings (.PNG 1)"),
            (".jpg", ("2.png",), "1 files with other endings (.png 1)"),
            (".jpg", ("1.JPG",), "1 files with other endings (.JPG 1)"),
            ("_rgb.png", ("2_nir.png",), "1 files with other endings (_nir.png 1)"),
            ("_rgb.png", ("2.png",), "1 files with other endings (.png 1)"),
            (".png", ("1_2.tif",), "1 files with other endings (.tif 1)"),
            (".jpg", ("2.heic", "3.webp"), "2 files with other endings"),
        ],
    )
    def test_they_are_counted_beside_what_is_used(self, tmp_path, used, others, kinds):
        write(tmp_path / "images", f"1{used}", f"9{used}", *others)
        message = only(told(tmp_path, **TARGET, img_suffix=used))
        assert f"2 images that end with {used} are used; {kinds}" in message
        assert str(tmp_path / "images") in message

    @pytest.mark.parametrize(
        ("suffix", "beside"),
        [
            (".jpg", ("1.png", "1_color.png", "1.txt", "1.json")),
            (".png", ("1.jpg",)),
            ("_rgb.png", ("1_gtFine_color.png", "1_label.png", "1_gt_invIds.png")),
            (".jpg", ("labels/1.png", "depth_any/1.png")),
        ],
    )
    def test_what_belongs_to_an_image_is_not(self, tmp_path, suffix, beside):
        write(tmp_path / "images", f"1{suffix}", *beside)
        assert told(tmp_path, **TARGET, img_suffix=suffix) == []

    def test_a_list_has_chosen(self, tmp_path):
        write(tmp_path / "images", "1.jpg", "2.JPG", ".x/3.jpg")
        (tmp_path / "list.txt").write_text("1\n")
        assert told(tmp_path, **TARGET, img_suffix=".jpg", file_list="list.txt") == []
        (tmp_path / "list.txt").write_text("1\n1.jpg\n")
        message = only(told(tmp_path, **TARGET, img_suffix=".jpg", file_list="list.txt"))
        assert "list.txt names 1 image more than once, the first is 1.jpg (line 2)" in message


def test_hidden_images(tmp_path):
    write(tmp_path / "images", "1.png", ".ipynb_checkpoints/1-checkpoint.png", "._1.png")
    message = only(told(tmp_path, **TARGET))
    assert "1 images that are hidden" in message and ".ipynb_checkpoints" in message


def test_links_that_lead_back(tmp_path):
    write(tmp_path / "images", "1.png", "day/2.png")
    os.symlink(tmp_path / "images", tmp_path / "images/day/back")
    message = only(told(tmp_path, **TARGET))
    assert "1 links lead back" in message and "day/back" in message


def test_images_under_several_names(tmp_path):
    write(tmp_path, "images/1.png", "images/day/2.png", "elsewhere/3.png")
    for place, target in (("a", "images/1.png"), ("b", "elsewhere/3.png")):
        os.symlink(tmp_path / target, tmp_path / f"images/{place}.png")
    message = only(told(tmp_path, **TARGET))
    assert "1 images are links to others" in message and "a.png" in message
    os.symlink(tmp_path / "elsewhere/3.png", tmp_path / "images/c.png")
    os.symlink("2.png", tmp_path / "images/day/d.png")
    assert "3 images are links to others" in only(told(tmp_path, **TARGET))


class TestTakenIn:
    """Images in use that are something else by their names."""

    def test_labels_between_images(self, tmp_path):
        write(tmp_path / "images", "1.png", "1_label.png", "2.png", "2_gtFine_labelTrainIds.png")
        message = only(told(tmp_path, **TARGET))
        assert "2 of the 4 images in use" in message and "1_label.png" in message

    def test_folders_of_labels_between_folders_of_images(self, tmp_path):
        write(tmp_path / "images", "rgb/1.png", "labels/1.png", "gtFine/x/1.png")
        assert "2 of the 3 images in use" in only(told(tmp_path, **TARGET))

    def test_labels_that_are_known_as_such_are_no_images(self, tmp_path):
        write(tmp_path / "images", "1.png", "1_label.png", "2.png", "2_label.png")
        assert told(tmp_path, label_dir="images", label_suffix="_label.png") == []

    def test_names_that_only_go_on(self, tmp_path):
        write(tmp_path / "images", "1.png", "1_2.png", "road.png", "road_left.png", "color/3.png")
        assert told(tmp_path, **TARGET) == []


class TestLabels:
    """Labels without image."""

    def test_they_are_counted(self, tmp_path):
        write(tmp_path, "images/1.png", "labels/1.png", "labels/2.png", "labels/x/3.png")
        (finding,) = told(tmp_path)
        assert "2 labels have no image" in finding.message and "labels/2.png" in finding.message
        assert finding.details["labels_without_image"] == ["2.png", "x/3.png"]

    def test_other_pictures_of_a_label_are_none(self, tmp_path):
        write(tmp_path, "images/1.png", *(f"labels/1{end}.png" for end in ("", "_color", "_mask")))
        assert told(tmp_path) == []


def test_a_list_that_is_wrong_is_a_problem_of_its_data_set(tmp_path):
    write(tmp_path, "images/1.png")
    (tmp_path / "list.txt").write_text("1\n2\n")
    item = dict(type="TaxonomyDataset", data_root=str(tmp_path), img_dir="images", **TARGET)
    (one,) = collect([dict(val_dataloader=dict(dataset={**item, "file_list": "list.txt"}))], [])
    assert any("list.txt, line 2" in f.message for f in inspect_data_set(one))
    with pytest.raises(UserError, match="line 2"):
        one.location.missing()


# Files as they are published, beside images and labels in use.
PUBLISHED = {
    "GTA": ("images/00001.png", "labels/00001.png", "labels/00001_labelTrainIds.png"),
    "MiniGTA": ("images/00001.png", "labels/00001.png", "labels/00001_labelTrainIds.png"),
    "SYNTHIA": (
        *("RGB/0000000.png", "GT/LABELS/0000000.png", "GT/LABELS/0000000_labelTrainIds.png"),
        *("GT/COLOR/0000000.png", "Depth/Depth/0000000.png"),
    ),
    "Cityscapes": (
        "leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png",
        *(
            f"gtFine/train/ulm/ulm_000000_000019_gtFine_{end}"
            for end in (
                *("labelTrainIds.png", "color.png", "instanceIds.png", "labelIds.png"),
                *("polygons.json", "instanceTrainIds.png"),
            )
        ),
        "depth_any/train/ulm/ulm_000000_000019_depth.png",
    ),
    "ACDC": (
        "rgb_anon/fog/train/GOPR0475/GOPR0475_frame_000041_rgb_anon.png",
        "rgb_anon/fog/train_ref/GOPR0475/GOPR0475_frame_000041_rgb_ref_anon.png",
        "rgb_anon/fog/val/GOPR0476/GOPR0476_frame_000854_rgb_anon.png",
        *(
            f"gt/fog/{split}_gt_{end}.png"
            for split in (
                "train/GOPR0475/GOPR0475_frame_000041",
                "val/GOPR0476/GOPR0476_frame_000854",
            )
            for end in ("labelTrainIds", "labelColor", "labelIds", "invGray", "invIds")
        ),
    ),
    "BDD100K": (
        "images/10k/train/0004a4c0-d4dff0ad.jpg",
        "labels/sem_seg/masks/train/0004a4c0-d4dff0ad.png",
        "labels/sem_seg/colormaps/train/0004a4c0-d4dff0ad.png",
    ),
    "Mapillary": (
        "training/images/__CRyFzoDOXn6unQ6a3DnQ.jpg",
        "training/images/_-mask_x.jpg",
        *(
            f"training/v1.2/{kind}/{name}.png"
            for kind in ("labels", "instances", "panoptic")
            for name in ("__CRyFzoDOXn6unQ6a3DnQ", "_-mask_x")
        ),
    ),
    "IDD": (
        "leftImg8bit/train/0/000000_leftImg8bit.png",
        *(
            f"gtFine/train/0/000000_gtFine_{end}"
            for end in ("labellevel3Ids.png", "instancelevel3Ids.png", "polygons.json")
        ),
    ),
    "CamVid": (
        *("train/0001TP_006690.png", "trainannot/0001TP_006690.png", "train.txt"),
        *("val/0016E5_07959.png", "valannot/0016E5_07959.png", "test/Seq05VD_f00000.png"),
    ),
    "DarkZurich": ("rgb_anon/train/night/GOPR0351/GOPR0351_frame_000001_rgb_anon.png",),
}


@pytest.mark.parametrize("kind", sorted(LAYOUTS))
def test_published_folders_give_no_warning(tmp_path, kind):
    write(tmp_path / kind, *PUBLISHED[kind])
    item = dict(type=kind, data_root=str(tmp_path / kind), images_only=kind == "DarkZurich")
    (one,) = collect([dict(train_dataloader=dict(dataset=item))], [])
    assert one.location.missing() == []
    assert check_files(one) == []
