"""What a walk through a folder of images finds, leaves out and remembers."""

import os
import unicodedata
from pathlib import Path

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.taxonomy.folders import Leftovers, scan, similar


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folder, suffix=".png"):
    left = Leftovers()
    return sorted(scan(folder, suffix, left)), left


def test_nested_folders_and_what_else_looks_like_an_image(tmp_path):
    touch(tmp_path, "a.png", "b/c/d.png", "e.PNG", "b/f.jpeg", "notes.txt", "g.png.part")
    names, left = found(tmp_path)
    assert names == ["a.png", "b/c/d.png"]
    assert sorted(left.others) == ["b/f.jpeg", "e.PNG"]


@pytest.mark.parametrize(
    "hidden",
    [
        *(".ipynb_checkpoints/a-checkpoint.png", ".git/x/a.png", "@eaDir/a.png/b.png", ".a.png"),
        *("__MACOSX/a.png", "lost+found/a.png", "sub/.thumbnails/a.png", "Thumbs/a.png"),
    ],
)
def test_hidden_images_are_left_out_and_remembered(tmp_path, hidden):
    touch(tmp_path, "b.png", hidden, "._b.png", "__MACOSX/._b.png", ".DS_Store")
    names, left = found(tmp_path)
    assert names == ["b.png"]
    assert left.hidden == [hidden]


def test_a_data_set_may_lie_in_a_hidden_folder(tmp_path):
    touch(tmp_path, ".cache/images/a.png")
    assert found(tmp_path / ".cache/images")[0] == ["a.png"]


def test_links_that_lead_back_end(tmp_path):
    touch(tmp_path, "images/day/a.png", "labels/a.png")
    images = tmp_path / "images"
    os.symlink(images, images / "itself")
    os.symlink(tmp_path, images / "parent")
    os.symlink("round", images / "round")
    names, left = found(images)
    assert names == ["day/a.png"]
    assert sorted(left.again) == ["itself", "parent"]


def test_a_folder_keeps_its_own_name_beside_a_link_to_it(tmp_path):
    touch(tmp_path, "z/a.png", "elsewhere/b.png")
    images = tmp_path / "images"
    images.mkdir()
    (tmp_path / "z").rename(images / "z")
    os.symlink("z", images / "a")
    os.symlink(tmp_path / "elsewhere", images / "one")
    os.symlink(tmp_path / "elsewhere", images / "two")
    names, left = found(images)
    assert names == ["one/b.png", "z/a.png"]
    assert sorted(left.again) == ["a", "two"]


def test_folders_that_link_to_each_other(tmp_path):
    touch(tmp_path, "images/x/1.png", "outside/2.png")
    os.symlink(tmp_path / "outside", tmp_path / "images/x/out")
    os.symlink(tmp_path / "images/x", tmp_path / "outside/back")
    assert found(tmp_path / "images")[0] == ["x/1.png", "x/out/2.png"]


def test_what_is_no_file_is_remembered(tmp_path):
    touch(tmp_path, "real.png")
    os.symlink("real.png", tmp_path / "link.png")
    os.symlink("nothing", tmp_path / "broken.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    names, left = found(tmp_path)
    assert names == ["link.png", "real.png"]
    assert sorted(left.unusable) == ["broken.png", "pipe.png"]


def test_names_in_another_encoding_can_be_told(tmp_path):
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xe9"))).mkdir()
    for name in (b"d\xe9/a.png", b"\xe9.png", b"\xe9.JPG", b".x\xe9.png"):
        open(os.fsencode(tmp_path) + b"/" + name, "wb").close()
    touch(tmp_path, "é.png")
    names, left = found(tmp_path)
    assert names == ["é.png"]
    assert sorted(left.unusable) == ["\\udce9.png", "d\\udce9/a.png"]
    assert left.others == ["\\udce9.JPG"] and left.hidden == [".x\\udce9.png"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """Permissions do not bind the administrator, as whom tests may run."""
    touch(tmp_path, "open/a.png", "closed/b.png", "lost+found/c.png")
    scandir = os.scandir

    def refuse(path):
        if Path(path).name in ("closed", "lost+found"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"closed cannot be read: Permission denied") as caught:
        found(tmp_path)
    assert "chmod" in caught.value.fix
    (tmp_path / "closed/b.png").unlink()
    (tmp_path / "closed").rmdir()
    assert found(tmp_path)[0] == ["open/a.png"]


def test_nothing_is_found_where_nothing_is(tmp_path):
    touch(tmp_path, "file.png")
    assert found(tmp_path / "absent")[0] == found(tmp_path / "file.png")[0] == []


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ("a.PNG", "a.png"),
        ("a_label.png", "a.png"),
        (unicodedata.normalize("NFD", "é.png"), unicodedata.normalize("NFC", "é.png")),
    ],
)
def test_a_name_that_may_have_been_meant(tmp_path, there, wanted):
    touch(tmp_path, there, "ab.png")
    assert similar(tmp_path / wanted) == there


def test_no_other_image_is_taken_for_a_missing_one(tmp_path):
    touch(tmp_path, "10.png", "b.png")
    assert similar(tmp_path / "1.png") is None
    assert similar(tmp_path / "absent/1.png") is None
