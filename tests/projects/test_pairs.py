"""Images and labels are found whatever their names and folders are."""

import numpy as np
import pytest
from harbour import write, write_pairs

from mmseg_uda.errors import UserError
from mmseg_uda.projects import find_images, find_pairs


@pytest.mark.parametrize(
    ("images", "labels", "suffix", "label_suffix"),
    [
        ("i/{i}.png", "l/{i}.png", ".png", ".png"),
        ("i/{i}.jpg", "l/{i}.png", ".jpg", ".png"),
        ("i/{j}/{i:04d}_rgb.jpg", "l/{j}/{i:04d}_red-ids.png", "_rgb.jpg", "_red-ids.png"),
        ("i/a {j}/ü.{i}_cam.JPG", "l/a {j}/ü.{i}_cam_mask.PNG", ".JPG", "_mask.PNG"),
        ("i/{j}/x_{i}_leftImg8bit.png", "l/{j}/x_{i}_gtFine_labelIds.png", "_leftImg8bit.png", ""),
        ("all/{i}.jpg", "all/{i}.ids.png", ".jpg", ".ids.png"),
        ("all/{j}/{i}.png", "all/{j}/{i}_label.png", ".png", "_label.png"),
    ],
)
def test_names(tmp_path, images, labels, suffix, label_suffix):
    write_pairs(tmp_path, images, labels, count=12)
    found = find_pairs(tmp_path / images.split("/")[0], tmp_path / labels.split("/")[0])
    assert (found.suffix, found.label_suffix) == (suffix, label_suffix or "_gtFine_labelIds.png")
    assert len(found.names) == 12 and found.others == () and found.size == (96, 64)
    expected = {str(tmp_path / labels.format(i=i, j=i % 2)) for i in range(12)}
    assert set(found.labels) == expected


def test_images_without_a_label_are_left_out_and_listed(tmp_path):
    write_pairs(tmp_path, "i/{i}.png", "l/{i}.png", count=5)
    write(tmp_path / "i/more.png", np.zeros((8, 8, 3), np.uint8))
    write(tmp_path / "i/other.bmp", np.zeros((8, 8, 3), np.uint8))
    found = find_pairs(tmp_path / "i", tmp_path / "l")
    assert found.others == ("more.png", "other.bmp") and found.listed
    (tmp_path / "i/more.png").unlink()
    assert not find_pairs(tmp_path / "i", tmp_path / "l").listed  # they end otherwise


def test_the_most_frequent_ending_of_images(tmp_path):
    write_pairs(tmp_path, "i/{j}/{i}.jpeg", "", count=5)
    write_pairs(tmp_path, "i/{i}.png", "", count=2)
    found = find_images(tmp_path / "i")
    assert (found.suffix, len(found.names), len(found.others)) == (".jpeg", 5, 2)


@pytest.mark.parametrize(
    ("images", "labels"),
    [("i/rgb_{i}.png", "l/ids_{i}.png"), ("i/{j}/{i}.png", "l/{i}.png")],
)
def test_names_that_begin_differently(tmp_path, images, labels):
    write_pairs(tmp_path, images, labels)
    with pytest.raises(UserError, match="has a label below") as error:
        find_pairs(tmp_path / "i", tmp_path / "l")
    assert images.format(i=0, j=0)[2:] in error.value.message and "begins alike" in error.value.fix


def test_folders_that_are_none(tmp_path):
    with pytest.raises(UserError, match="nowhere is no folder"):
        find_images(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no image below"):
        find_images(tmp_path)
