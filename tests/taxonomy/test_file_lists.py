"""Lists of images as editors, other programs and people write them."""

import unicodedata

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.taxonomy import DataLocation

NAMES = ("000", "001", "frame 0", "frame 1", "sub/a", "é", "#1", "x/twin", "y/twin", "cab_rgb")


@pytest.fixture
def chosen(tmp_path):
    """Writes a list of bytes; returns the stems of the images that it chooses."""
    for name in NAMES:
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def choose(content, suffix=".png"):
        (tmp_path / "list.txt").write_bytes(content)
        options = dict(data_root=str(tmp_path), img_dir="images", images_only=True)
        location = DataLocation.create(**options, file_list="list.txt", img_suffix=suffix)
        return [name.removesuffix(".png") for name in location.images()]

    return choose


@pytest.mark.parametrize(
    "content",
    [
        b"000\r\n001\r\n",
        b"000\r001",
        b"\xef\xbb\xbf000\n001\n",
        "\ufeff000\n001\n".encode("utf-16-le"),
        "\ufeff000\r\n001\r\n".encode("utf-16-be"),
        "000\n001\n".encode("utf-32"),
        b"  000 \t\n\n   \n001",
        b"# mine\n000\n # and\n001\n",
        b"\xef\xbb\xbf# mine\n000\n001\n",
        b"000.png\n001.png",
        b"images/000\nimages/001.png",
        b"./000\n./001.png",
        b"001\n000",
        b"000\n001\n000\n",
    ],
)
def test_harmless_differences(chosen, content):
    assert chosen(content) == ["000", "001"]


def test_whole_paths(chosen, tmp_path):
    assert chosen(f"{tmp_path}/images/000.png\n{tmp_path}/images/sub/a".encode()) == [
        "000",
        "sub/a",
    ]


def test_names_with_spaces_and_folders(chosen):
    assert chosen(b"frame 0\nframe 1\n") == ["frame 0", "frame 1"]
    assert chosen(b"a\n") == chosen(b"sub\\a.png\n") == chosen(b"sub/a\n") == ["sub/a"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_may_be_composed_otherwise(chosen, form):
    assert chosen(unicodedata.normalize(form, "é").encode()) == ["é"]


def test_an_image_may_be_called_like_a_comment(chosen):
    assert chosen(b"#1\n# 1\n") == ["#1"]


def test_a_suffix_with_a_name_in_it(chosen):
    for text in (b"cab", b"cab_rgb", b"cab_rgb.png", b"images/cab_rgb.png"):
        assert chosen(text, suffix="_rgb.png") == ["cab_rgb"]


@pytest.mark.parametrize(
    ("content", "line", "told"),
    [
        (b"000\n002\n001\n003\n", 2, "2 of 4 listed images are missing, the first is 002"),
        (b"\n# c\n002\n", 3, "the first is 002"),
        (b"000 # mine\n", 1, "Comments stand in lines of their own"),
        (b"000.png 000_label.png\n", 1, "One image name per line"),
        (b"000\t001\n", 1, "One image name per line"),
        (b"001\n000,sub/a\n", 2, "One image name per line"),
        (b"*.png\n", 1, "no patterns"),
        (b"000\nsub\n", 2, "sub is a folder"),
        (b"SUB/A\n", 1, "There is sub/a.png"),
        (b"twin\n", 1, "x/twin and y/twin both match"),
        ("000\né\n".encode("latin-1"), 2, "no text in UTF-8"),
        ("000\n001\n".encode("utf-16-le"), 1, "no text in UTF-8"),
        (b"000\n\0\n", 2, "no text in UTF-8"),
        (b"x" * 5000, 1, "missing"),
    ],
)
def test_what_is_wrong_names_list_and_line(chosen, content, line, told):
    with pytest.raises(UserError) as caught:
        chosen(content)
    text = str(caught.value)
    assert f"list.txt, line {line}: " in text and told in text and len(text) < 600
    assert "download" not in text


@pytest.mark.parametrize("content", [b"", b" \n\n", b"# nothing\n"])
def test_an_empty_list(chosen, content):
    with pytest.raises(UserError, match=r"list\.txt lists nothing"):
        chosen(content)


def test_a_list_that_is_none(tmp_path):
    (tmp_path / "a.png").touch()
    options = dict(data_root=str(tmp_path), img_dir="", images_only=True)
    (tmp_path / "lists").mkdir()
    with pytest.raises(UserError, match=r"lists is a folder, not a file"):
        DataLocation.create(**options, file_list="lists").images()
    with pytest.raises(UserError, match=r"none\.txt is missing"):
        DataLocation.create(**options, file_list="none.txt").images()
    with pytest.raises(UserError, match=r"file_list=\['a'\] is no path"):
        DataLocation.create(**options, file_list=["a"])


def test_a_list_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("a\n")
    location = DataLocation.create("GTA", "gta", images_only=True, file_list="mine.txt")
    assert f"{tmp_path}/mine.txt" in location.make_list
    other = DataLocation.create("GTA", "gta", images_only=True, file_list="other.txt")
    assert "splits.py" not in other.make_list  # makes only the published lists
