"""Files for the user: the published layout, and reading it back."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import toy_alignment as toy
from PIL import Image

from mmseg_uda.errors import UserError
from mmseg_uda.foundation import PrecomputedMaskProposer
from mmseg_uda.foundation.masks import read_masks
from mmseg_uda.methods.dynalign import (
    Outputs,
    label_folder,
    read_label_map,
    semantic_map,
    ssa_content,
)
from mmseg_uda.taxonomy import load_taxonomy_map

ALL = ("labels", "confidence", "json", "images")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run at half of the images' size with every kind of file."""
    root = toy.write_world(tmp_path_factory.mktemp("world"))
    image = Image.fromarray(toy.picture(*toy.COLORS.values()))
    image.save(root / "images/town/wide.jpeg", quality=98)
    Image.fromarray(toy.halves()).save(root / "source/town/wide.png")
    out = root / "out"
    toy.run_all(root, out, kinds=ALL, working_size="stretch:32x48", proposer=toy.GridProposer(8))
    return root, out


def test_labels_are_palette_files_of_eight_bits_at_the_images_size(done):
    _, out = done
    with Image.open(out / "labels/town/frame_1.png") as picture:
        assert picture.mode == "P"
        assert picture.size == (64, 64)
        ids = np.asarray(picture)
        assert ids.dtype == np.uint8
        assert picture.getpalette()[: 3 * 4] == [v for c in toy.COLORS.values() for v in c]
    assert np.array_equal(ids, read_label_map(out / "labels/town/frame_1.png"))


def test_resizing_is_nearest_so_only_ids_of_regions_occur(done):
    _, out = done
    for path in (out / "labels").rglob("*.png"):
        assert set(np.unique(read_label_map(path))) <= {0, 1, 2, 3}


def test_the_palette_is_the_target_taxonomys(tmp_path):
    mapillary = load_taxonomy_map("mapillary_v5")
    outputs = Outputs(tmp_path, mapillary.target_classes, mapillary.palette)
    picture = outputs._colored(np.full((2, 2), 13, np.uint8))
    assert picture.convert("RGB").getpixel((0, 0)) == (128, 64, 128)


def test_more_than_256_classes_take_sixteen_bits(tmp_path):
    outputs = Outputs(tmp_path, ["c"] * 300, [(0, 0, 0)] * 300, kinds=())
    wide = np.array([[0, 299]], np.uint16)
    path = tmp_path / "wide.png"
    outputs._save(outputs._colored(wide), path)
    assert read_label_map(path).tolist() == [[0, 299]]


def test_folders_and_stems_are_kept_whatever_the_suffix(done):
    _, out = done
    for kind, ending in (("labels", ".png"), ("confidence", ".png"), ("json", "_semantic.json")):
        assert (out / kind / f"town/wide{ending}").is_file()
        assert (out / kind / f"frame_0{ending}").is_file()
    linked = out / "images/town/wide.jpeg"
    assert linked.is_symlink()
    assert linked.resolve() == (done[0] / "images/town/wide.jpeg").resolve()


def test_a_linked_image_stays_as_it_is_and_a_link_is_replaced(tmp_path):
    source = tmp_path / "a.png"
    source.write_bytes(b"image")
    source.chmod(0o440)
    outputs = Outputs(tmp_path / "out", ["c"], [(0, 0, 0)], kinds=("images",))
    for _ in range(2):
        outputs._place_image(SimpleNamespace(path=source, name="a"))
    assert source.stat().st_mode & 0o777 == 0o440
    assert [p.name for p in (tmp_path / "out/images").iterdir()] == ["a.png"]


@pytest.mark.parametrize(("way", "name"), [("copy", "wide.jpeg"), ("png", "wide.png")])
def test_images_are_copied_byte_by_byte(done, tmp_path, way, name):
    root, _ = done
    outputs = Outputs(tmp_path, ["c"], [(0, 0, 0)], kinds=("images",), image_files=way)
    item = SimpleNamespace(path=root / "images/town/wide.jpeg", name="town/wide")
    outputs._place_image(item)
    assert (tmp_path / "images/town" / name).read_bytes() == item.path.read_bytes()


def test_exchange_json_holds_two_sizes_and_is_read_back(done):
    _, out = done
    path = out / "json/town/frame_1_semantic.json"
    content = json.loads(path.read_text())
    areas = [record["area"] for record in content["annotations"]]
    assert areas == sorted(areas, reverse=True)
    first = content["annotations"][0]
    assert first["segmentation"]["size"] == [32, 48]
    assert first["class_name"] == first["class_proposals"]
    assert first["class_name"] in toy.COLORS
    assert {tuple(v["size"]) for v in content["semantic_mask"].values()} == {(64, 64)}
    labels = read_label_map(out / "labels/town/frame_1.png")
    assert np.array_equal(semantic_map(content), labels)
    assert semantic_map(content).dtype == np.uint8


def test_exported_regions_come_back_as_they_were(done):
    _, out = done
    image = np.zeros((32, 48, 3), np.uint8)
    before = toy.GridProposer(8).propose(image)
    assert read_masks(out / "json/frame_0_semantic.json") == before.select(before.order())
    again = PrecomputedMaskProposer(str(out / "json")).propose(image, name="town/frame_1")
    assert again == before.select(before.order())


def test_precomputed_regions_give_the_same_labels(done, tmp_path):
    root, out = done
    proposer = PrecomputedMaskProposer(str(out / "json"))
    toy.run_all(root, tmp_path / "b", proposer=proposer, working_size="stretch:32x48")
    assert toy.files(tmp_path / "b", "labels") == toy.files(out, "labels")


def test_a_pixel_of_no_entry_is_background():
    masks = toy.GridProposer(2).propose(np.zeros((2, 2, 3), np.uint8))
    content = ssa_content(masks, ["road"], np.array([[3, 3], [3, 0]], np.uint8))
    del content["semantic_mask"]["0"]
    assert semantic_map(content, background=9).tolist() == [[3, 3], [3, 9]]
    content["semantic_mask"]["3"]["counts"] = "!"
    with pytest.raises(UserError, match="no label map"):
        semantic_map(content)


@pytest.mark.parametrize("name", ["labels", "label"])
def test_both_names_of_the_label_folder_are_found(tmp_path, name):
    (tmp_path / name).mkdir()
    assert label_folder(tmp_path) == tmp_path / name


def test_a_folder_without_labels(tmp_path):
    with pytest.raises(UserError, match="labels, label"):
        label_folder(tmp_path)


def test_a_missing_label_file(tmp_path):
    with pytest.raises(UserError, match="missing"):
        read_label_map(tmp_path / "none.png")
