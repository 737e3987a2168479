"""Depth maps: reading, remapping, geometry, and what happens when they are missing."""

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from tiny_data import write_image, write_label

import mmseg_uda.datasets  # noqa: F401
from mmseg_uda.datasets.transforms import LoadRemappedDepth, remap_table
from mmseg_uda.errors import UserError
from mmseg_uda.labels import read_depth
from mmseg_uda.taxonomy import DataLocation, missing_paths

PUBLISHED = {
    0: 255, 1: 249, 2: 243, 5: 226, 10: 201, 16: 175, 32: 120, 50: 78, 64: 56, 100: 24, 128: 12,
    150: 7, 192: 2, 200: 2, 224: 1, 236: 1, 237: 0, 255: 0,
}  # fmt: skip


def test_table_of_the_published_remap():
    table = remap_table()
    assert table.dtype == np.float32
    assert {d: table[d] for d in PUBLISHED} == PUBLISHED
    assert len(np.unique(table)) == 119
    assert np.flatnonzero(table == 0).tolist() == list(range(237, 256))
    assert np.flatnonzero(table == 1).tolist() == list(range(207, 237))
    assert (np.diff(table) <= 0).all()


@pytest.mark.parametrize("remap", ["exp", "reciprocal", "linear"])
def test_sixteen_bits_are_finer_steps_of_eight(remap):
    fine, coarse = remap_table(remap, bits=16), remap_table(remap)
    assert fine.shape == (65536,)
    assert np.array_equal(fine[::257], coarse)
    assert (np.diff(fine) <= 0).all() and fine.min() >= 0 and fine.max() <= 255


def test_other_remaps():
    assert remap_table("linear")[[0, 10, 255]].tolist() == [255, 245, 0]
    assert remap_table("reciprocal")[[0, 1, 3, 255]].tolist() == [255, 127, 63, 0]
    assert remap_table("exp", rate=3.0)[128] == int(255 * np.exp(-1.5))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"remap": "log"}, "remap='log'"),
        ({"dtype": "int8"}, "dtype='int8'"),
        ({"rate": 0}, "rate=0"),
    ],
)
def test_impossible_options_are_named(options, words):
    with pytest.raises(UserError, match=words):
        LoadRemappedDepth(**options)


def write_depth(path, depth):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), depth)
    return str(path)


def load(path, height, width, **options):
    results = {"img": np.zeros((height, width, 3), np.uint8), "seg_fields": [], "depth_path": path}
    results = LoadRemappedDepth(**options)(results)
    assert results["seg_fields"] == ["gt_depth_map"]
    return results["gt_depth_map"]


@pytest.fixture
def depth():
    return np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)


def test_grey_pictures_and_sixteen_bits_read_like_one_byte(tmp_path, depth):
    one = load(write_depth(tmp_path / "1.png", depth), 20, 30)
    assert np.array_equal(one, remap_table()[depth])
    three = write_depth(tmp_path / "3.png", np.repeat(depth[..., None], 3, -1))
    sixteen = write_depth(tmp_path / "16.png", depth.astype(np.uint16) * 257)
    assert read_depth(sixteen).dtype == np.uint16
    assert np.array_equal(load(three, 20, 30), one)
    assert np.array_equal(load(sixteen, 20, 30), one)


def test_depth_of_another_size_is_resized_after_the_remap(tmp_path, depth):
    path = write_depth(tmp_path / "d.png", depth)
    expected = cv2.resize(remap_table()[depth], (45, 33), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(load(path, 33, 45), expected)
    truncated = load(path, 33, 45, dtype="uint8")
    assert truncated.dtype == np.uint8 and np.array_equal(truncated, np.floor(expected))


def test_constant_depth_stays_constant(tmp_path):
    path = write_depth(tmp_path / "d.png", np.full((7, 9), 64, np.uint8))
    assert np.unique(load(path, 40, 31)).tolist() == [56]


def test_unreadable_depth_is_named(tmp_path, depth):
    with pytest.raises(UserError, match=r"no\.png is missing"):
        load(str(tmp_path / "no.png"), 20, 30)
    path = tmp_path / "d.png"
    write_depth(path, depth)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"d\.png cannot be decoded"):
        load(str(path), 20, 30)
    coloured = cv2.applyColorMap(depth, cv2.COLORMAP_JET)
    with pytest.raises(UserError, match=r"c\.png has colours"):
        load(write_depth(tmp_path / "c.png", coloured), 20, 30)


@pytest.mark.parametrize(
    ("kind", "image", "folder", "name"),
    [
        ("GTA", "00001.png", "data/gta/depth_any", "00001.png"),
        ("SYNTHIA", "0000000.png", "data/synthia/depth_any", "0000000.png"),
        (
            "Cityscapes",
            "ulm/ulm_0_leftImg8bit.png",
            "data/cityscapes/depth_any/train",
            "ulm/ulm_0_depth.png",
        ),
    ],
)
def test_published_names(kind, image, folder, name):
    location = DataLocation.create(kind, images_only=True)
    assert str(location.depth_folder) == folder
    assert location.depth_name(image) == name


def test_own_folders_and_names():
    own = DataLocation.create(data_root="d", img_dir="frames", img_suffix=".jpg", images_only=True)
    assert str(own.depth_folder) == "d/depth_any" and own.depth_name("a/b.jpg") == "a/b.png"
    own = DataLocation.create("GTA", depth_dir="my_depth", depth_suffix="_d.png")
    assert str(own.depth_folder) == "data/gta/my_depth"
    assert own.depth_name("00001.png") == "00001_d.png"


STEPS = [
    dict(type="LoadFrame"),
    dict(type="LoadTrainIds"),
    dict(type="ResizeFields", scale=(60, 40)),
    dict(type="LoadRemappedDepth"),
    dict(type="CropFields", crop_size=(16, 24)),
    dict(type="FlipFields", prob=0.5),
]


@pytest.fixture
def aligned(tmp_path):
    """Four frames whose depth is a function of the label: D = 5 * label."""
    label = np.random.default_rng(0).integers(0, 19, (40, 60), np.uint8)
    for i in range(4):
        write_image(tmp_path / f"images/{i:05d}.png", 40, 60, seed=i)
        write_label(tmp_path / f"labels/{i:05d}_labelTrainIds.png", label)
        write_depth(tmp_path / f"depth_any/{i:05d}.png", 5 * label)
    return tmp_path


def test_depth_stays_with_the_label_through_crop_and_flip(aligned):
    dataset = DATASETS.build(dict(type="GTA", data_root=str(aligned), pipeline=STEPS))
    np.random.seed(0)
    flips = set()
    for i in [0, 1, 2, 3] * 4:
        sample = dataset[i]
        flips.add(sample["flip"])
        expected = remap_table()[5 * sample["gt_seg_map"]]
        assert sample["gt_depth_map"].shape == (16, 24)
        assert np.array_equal(sample["gt_depth_map"], expected)
    assert flips == {True, False}


def test_depth_is_a_crop_of_the_whole_remapped_and_resized_map(aligned):
    steps = [*STEPS[:2], dict(type="ResizeFields", scale=(90, 60)), *STEPS[3:]]
    dataset = DATASETS.build(dict(type="GTA", data_root=str(aligned), pipeline=steps))
    raw = read_depth(str(aligned / "depth_any/00002.png"))
    whole = cv2.resize(remap_table()[raw], (90, 60), interpolation=cv2.INTER_LINEAR)
    np.random.seed(1)
    for _ in range(6):
        sample = dataset[2]
        y0, y1, x0, x1 = sample["crop_box"]
        expected = whole[y0:y1, x0:x1]
        expected = expected[:, ::-1] if sample["flip"] else expected
        assert np.array_equal(sample["gt_depth_map"], expected)


def test_a_missing_depth_file_is_named_with_the_command_that_renders_it(aligned):
    (aligned / "depth_any/00002.png").unlink()
    config = dict(type="GTA", data_root=str(aligned), pipeline=STEPS)
    with pytest.raises(UserError, match=r"1 of 4 images have no depth file.*00002\.png") as error:
        DATASETS.build(config)
    assert "tools/render_depth.py --dataset GTA --split train" in error.value.fix


def test_a_missing_depth_folder_is_found_before_the_training(aligned):
    for file in (aligned / "depth_any").iterdir():
        file.unlink()
    config = dict(type="GTA", data_root=str(aligned), pipeline=STEPS)
    (found,) = missing_paths(config)
    assert found.path.startswith(f"{aligned}/depth_any/0000") and "render_depth.py" in found.fix
    without = dict(config, pipeline=[s for s in STEPS if s["type"] != "LoadRemappedDepth"])
    assert missing_paths(without) == []
    assert missing_paths(without, depth=True) == [found]


def test_nothing_else_needs_depth(aligned):
    for file in (aligned / "depth_any").iterdir():
        file.unlink()
    gta = Config.fromfile("configs/_base_/domains/gta.py").source_gta
    source = dict(gta, data_root=str(aligned))
    assert "gt_depth_map" not in DATASETS.build(source)[0]["data_samples"]


def test_conditions_of_acdc(tmp_path):
    write_image(tmp_path / "rgb_anon/fog/train/G/a_rgb_anon.png")
    write_depth(tmp_path / "depth_any/fog/train/G/a_depth.png", np.zeros((40, 60), np.uint8))
    steps = [STEPS[0], STEPS[3], dict(type="PackFields")]
    config = dict(type="ACDC", data_root=str(tmp_path), images_only=True, pipeline=steps)
    data = DATASETS.build(config)[0]["data_samples"]
    assert data.gt_depth_map.data.shape == (1, 40, 60)
    assert missing_paths(config) == []
