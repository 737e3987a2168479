import logging
import os

import pytest

from mmseg_uda.apis import image_files
from mmseg_uda.apis.image_files import find_images
from mmseg_uda.errors import UserError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def names(files):
    return [file.name for file in files]


def test_folders_are_searched_and_keep_their_structure(tmp_path):
    touch(tmp_path, "a/z.png", "a/b/c/y.JPG", "a/notes.txt", "a/.hidden.png", "a/.cache/x.png")
    found = find_images([tmp_path / "a"], tmp_path / "out")
    assert names(found) == ["b/c/y", "z"]
    assert found[0].path == tmp_path / "a/b/c/y.JPG"


def test_files_and_folders_together(tmp_path):
    touch(tmp_path, "a/1.png", "b/1.png", "2.bmp")
    found = find_images([tmp_path / "2.bmp", tmp_path / "b", tmp_path / "a"], tmp_path / "out")
    assert names(found) == ["2", "b/1", "a/1"]
    # one folder needs no name of its own
    assert names(find_images([tmp_path / "a"], tmp_path / "out")) == ["1"]


def test_images_that_differ_in_their_suffix_keep_it(tmp_path):
    touch(tmp_path, "a/1.png", "a/1.jpg", "a/2.jpg", "a/v1.2.jpg", "a/v1.3.jpg")
    found = find_images([tmp_path / "a"], tmp_path / "out")
    assert names(found) == ["1.jpg", "1.png", "2", "v1.2", "v1.3"]


def test_predictions_inside_the_input_are_no_input(tmp_path):
    touch(tmp_path, "1.png", "out/color/1.png", "out.png")
    assert names(find_images([tmp_path], tmp_path / "out")) == ["1", "out"]


def test_links_are_followed_once(tmp_path):
    touch(tmp_path, "a/1.png", "elsewhere/2.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "a" / "linked")
    os.symlink(tmp_path / "a", tmp_path / "elsewhere" / "back")
    assert names(find_images([tmp_path / "a"], tmp_path / "out")) == ["1", "linked/2"]


def test_an_image_given_twice_is_predicted_once(tmp_path):
    touch(tmp_path, "1.png")
    assert len(find_images([tmp_path / "1.png", tmp_path / "1.png"], tmp_path / "out")) == 1


def test_what_cannot_be_told_apart_is_refused(tmp_path):
    touch(tmp_path, "a/x/1.png", "b/x/1.png")
    with pytest.raises(UserError, match=r"a/x/1.png and .*b/x/1.png would have the same name"):
        find_images([tmp_path / "a/x", tmp_path / "b/x"], tmp_path / "out")


def test_nothing_to_predict(tmp_path):
    touch(tmp_path, "a/notes.txt")
    with pytest.raises(UserError, match="no image in"):
        find_images([tmp_path / "a"], tmp_path / "out")
    with pytest.raises(UserError, match="no file or folder .*nowhere"):
        find_images([tmp_path / "nowhere"], tmp_path / "out")


def test_what_is_found_and_left_out_is_told(tmp_path, monkeypatch):
    told = {logging.INFO: [], logging.WARNING: []}

    def record(text, logger, level=logging.INFO):
        told[level].append(text)

    monkeypatch.setattr(image_files, "print_log", record)
    touch(tmp_path, "a/1.png", "a/2.heic", "a/.thumbnails/3.png", "a/1_label.png", "a/4.jpg")
    os.symlink(tmp_path, tmp_path / "a/up")
    found = find_images([tmp_path / "a"], tmp_path / "out")
    assert names(found) == ["1", "1_label", "4"]
    assert told[logging.INFO] == [f"{tmp_path}/a: 3 images (.png 2, .jpg 1)"]
    parts = ("(.heic 1)", ".thumbnails/3.png", "up", "1_label.png")
    assert len(told[logging.WARNING]) == len(parts)
    assert all(part in text for part, text in zip(parts, told[logging.WARNING], strict=True))


def test_predictions_of_an_earlier_call_are_no_input(tmp_path):
    touch(tmp_path, "1.png", "before/color/1.png", "before/legend.png", "before/settings.json")
    touch(tmp_path, "legend.png", "other/legend.png")
    assert names(find_images([tmp_path], tmp_path / "out")) == ["1", "legend", "other/legend"]


def test_what_is_no_file_is_left_to_the_reader(tmp_path):
    touch(tmp_path, "1.png")
    os.symlink("nothing", tmp_path / "2.png")
    os.mkfifo(tmp_path / "3.png")
    assert names(find_images([tmp_path], tmp_path / "out")) == ["1", "2", "3"]
