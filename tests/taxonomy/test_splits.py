"""The published splits of GTA and SYNTHIA, and the list files made of them."""

import hashlib

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.labels import write_split_lists
from mmseg_uda.taxonomy import DataLocation, available_splits, missing_paths, published_split

EXCLUDED = (
    *(12160, 12166, 12167, 12191, 12192, 12193, 12195),
    *range(12202, 12209),
    *(15188, 19993),
)
DIGESTS = {
    "gta/train": "b899f821e4d04b4f2060c518c15c2eb7ba31cbcedc25400c88be98374d39a9af",
    "gta/val": "5ca538e29972656d7e2568a79e51e2d63ed13e2f75449af71ddb1112b67522ff",
    "gta/test": "ced5e998527c4a0accf50066282e57bb9070765e242d2d345e00ad922cc13e66",
    "synthia/train": "52ce43be60d2ff75ec7a9b31c66c0cff0f5d95bdf29d061837ae741f9b472f07",
    "synthia/val": "04e979e7303d8f7970b2ea92843b7b958623fb6b0652c3eb0c6629219a4317a0",
}


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_gta_has_the_official_split_without_frames_of_one_colour():
    splits = published_split("gta")
    assert {k: len(v) for k, v in splits.items()} == {"train": 12387, "val": 6382, "test": 6181}
    everything = [name for names in splits.values() for name in names]
    assert len(set(everything)) == len(everything) == 24966 - 16
    assert {f"{i:05d}" for i in EXCLUDED}.isdisjoint(everything)
    # The whole membership, one byte per frame: excluded 0, train 1, val 2, test 3.
    member = {name: k for k, s in enumerate(("train", "val", "test"), 1) for name in splits[s]}
    expanded = bytes(member.get(f"{i:05d}", 0) for i in range(1, 24967))
    digest = "015e2ca0d5da1e72723b34e020321bb242e66da3a972ef7e0ac24f0951b5ba82"
    assert hashlib.sha256(expanded).hexdigest() == digest


def test_synthia_is_split_completely():
    splits = published_split("synthia")
    assert {k: len(v) for k, v in splits.items()} == {"train": 6580, "val": 2820}
    assert sorted(splits["train"] + splits["val"]) == [f"{i:07d}" for i in range(9400)]


@pytest.mark.parametrize("dataset", ["gta", "synthia"])
def test_list_files_hold_the_published_lists(dataset, tmp_path):
    counts = write_split_lists(dataset, tmp_path)
    for split, count in counts.items():
        text = (tmp_path / "splits" / f"{split}.txt").read_text()
        names = text.removesuffix("\n")
        assert hashlib.sha256(names.encode()).hexdigest() == DIGESTS[f"{dataset}/{split}"]
        assert len(names.split("\n")) == count


def test_an_unknown_data_set_is_answered_with_the_known_ones():
    assert available_splits() == ["gta", "synthia"]
    with pytest.raises(UserError, match=r"(?s)'kitti'.*gta, synthia"):
        published_split("kitti")


@pytest.mark.parametrize("folder", ["images", "images/train/part1"])
def test_a_list_selects_images_of_a_flat_or_a_nested_folder(folder, tmp_path):
    for i in (1, 2, 3):
        touch(tmp_path / folder / f"{i:05d}.png")
        touch(tmp_path / folder.replace("images", "labels") / f"{i:05d}_labelTrainIds.png")
    touch(tmp_path / "splits/val.txt")
    (tmp_path / "splits/val.txt").write_text("00003\n00001\n")
    config = {"type": "GTA", "data_root": str(tmp_path), "file_list": "splits/val.txt"}
    location = DataLocation.create(**config)
    assert [name.rpartition("/")[2] for name in location.images()] == ["00001.png", "00003.png"]
    assert missing_paths(config) == []


def test_a_missing_list_is_made_by_a_command(tmp_path):
    touch(tmp_path / "images/00001.png")
    touch(tmp_path / "labels/00001_labelTrainIds.png")
    config = {"type": "GTA", "data_root": str(tmp_path), "file_list": "splits/train.txt"}
    (missing,) = missing_paths(config)
    assert missing.path == f"{tmp_path}/splits/train.txt"
    assert missing.fix == f"Run: python tools/convert_datasets/splits.py gta {tmp_path}"
    with pytest.raises(UserError, match=r"splits/train.txt is missing"):
        DataLocation.create(**config).images()


def test_missing_and_doubled_images_of_a_list_are_told(tmp_path):
    touch(tmp_path / "images/a/00001.png")
    (tmp_path / "list.txt").write_text("00001\n00002\n00004\n")
    location = DataLocation.create("GTA", str(tmp_path), file_list="list.txt", images_only=True)
    with pytest.raises(UserError, match=r"2 of 3 listed images are missing, the first is 00002"):
        location.images()
    touch(tmp_path / "images/b/00001.png")
    with pytest.raises(UserError, match=r"a/00001 and b/00001 both match the entry '00001'"):
        location.images()
    (tmp_path / "list.txt").write_text("b/00001\n")
    assert location.images() == ["b/00001.png"]
