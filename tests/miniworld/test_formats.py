from __future__ import annotations

import struct

import cv2
import numpy as np
from PIL import Image

from mmseg_uda.miniworld.domains import DOMAINS, render
from mmseg_uda.miniworld.formats import quantize_depth, synthia_id_table
from mmseg_uda.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy("cityscapes19")
GREY, RGB, PALETTE = 0, 2, 3


def png_header(path):
    """(width, height, bit depth, colour type) as written in the file's IHDR chunk."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">IIBB", data[16:26])


def train_ids(raw, dataset):
    table = np.full(1 << 16, 255, np.uint8)
    for raw_id, train_id in TAXONOMY.raw_ids[dataset].items():
        table[raw_id] = train_id
    return table[raw]


def test_gta_labels_are_palette_pngs_of_label_ids(world, options):
    root = world.data["gta"]
    assert sorted(p.name for p in (root / "images").glob("*.png")) == [
        "00001.png",
        "00002.png",
        "00003.png",
    ]
    assert png_header(root / "images" / "00001.png") == (256, 128, 8, RGB)
    assert png_header(root / "labels" / "00001.png") == (256, 128, 8, PALETTE)
    with Image.open(root / "labels" / "00001.png") as label:
        raw = np.array(label)
        palette = np.array(label.getpalette()).reshape(-1, 3)
    expected = render(DOMAINS["gta"], "train", 0, options.seed, options.strength)
    assert np.array_equal(train_ids(raw, "gta"), expected.label)
    assert palette[7].tolist() == list(TAXONOMY.palette[0])


def test_synthia_labels_are_16_bit_with_the_class_in_the_red_channel(world, options):
    root = world.data["synthia"]
    path = root / "GT" / "LABELS" / "0000000.png"
    assert png_header(path) == (256, 128, 16, RGB)
    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert raw.shape == (128, 256, 3)
    assert raw.dtype == np.uint16
    expected = render(DOMAINS["synthia"], "train", 0, options.seed, options.strength)
    label = train_ids(raw[..., -1], "synthia")
    same = ~np.isin(expected.label, (9, 14))
    assert np.array_equal(label[same], expected.label[same])
    assert np.array_equal(raw[..., 1], expected.instance)
    assert (root / "RGB" / "0000000.png").exists()


def test_synthia_labels_have_no_terrain_truck_or_train(world):
    root = world.data["synthia"]
    seen = set()
    for index in range(3):
        raw = cv2.imread(str(root / f"GT/LABELS/{index:07d}.png"), cv2.IMREAD_UNCHANGED)[..., 2]
        seen |= set(np.unique(raw).tolist())
    assert not seen & {16, 18, 20}
    assert len(seen) >= 12


def test_synthia_calls_grass_vegetation_and_trucks_cars():
    table = synthia_id_table()
    assert (table[9], table[14], table[16]) == (6, 8, 0)


def test_cityscapes_has_cities_label_ids_and_the_ego_vehicle(world, options):
    root = world.data["cityscapes"]
    image = root / "leftImg8bit/train/minaburg/minaburg_000000_000019_leftImg8bit.png"
    label = root / "gtFine/train/minaburg/minaburg_000000_000019_gtFine_labelIds.png"
    assert png_header(image) == (256, 128, 8, RGB)
    assert png_header(label) == (256, 128, 8, GREY)
    raw = cv2.imread(str(label), cv2.IMREAD_UNCHANGED)
    frame = render(DOMAINS["cityscapes"], "train", 0, options.seed, options.strength)
    assert {1, 2, 3} <= set(np.unique(raw).tolist())
    assert np.array_equal(train_ids(raw, "cityscapes"), frame.label)
    train = {p.parent.name for p in (root / "leftImg8bit/train").rglob("*.png")}
    val = {p.parent.name for p in (root / "leftImg8bit/val").rglob("*.png")}
    assert not train & val


def test_acdc_labels_are_trainids(world, options):
    root = world.data["acdc"]
    images = sorted(p.name for p in (root / "rgb_anon/train").glob("*_rgb_anon.png"))
    labels = sorted(p.name for p in (root / "gt/train").glob("*_gt_labelTrainIds.png"))
    assert len(images) == len(labels) == 4
    label = cv2.imread(str(root / "gt/train" / labels[2]), cv2.IMREAD_UNCHANGED)
    frame = render(DOMAINS["acdc"], "train", 2, options.seed, options.strength)
    assert np.array_equal(label, frame.label)


def test_depth_has_one_8_bit_file_per_image_with_the_published_names(world):
    assert (world.data["gta"] / "depth_any/00001.png").exists()
    assert (world.data["synthia"] / "depth_any/0000000.png").exists()
    city = world.data["cityscapes"]
    images = sorted(p.relative_to(city).as_posix() for p in (city / "leftImg8bit").rglob("*.png"))
    for image in images:
        depth = city / image.replace("leftImg8bit/", "depth_any/").replace("leftImg8bit", "depth")
        assert png_header(depth) == (256, 128, 8, GREY)


def test_depth_is_relative_inverse_depth():
    inverse = np.array([[0.0, 0.05], [0.1, 0.2]], np.float32)
    assert quantize_depth(inverse).tolist() == [[0, 63], [127, 255]]
    assert not quantize_depth(np.full((2, 2), 0.3, np.float32)).any()
