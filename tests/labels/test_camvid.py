"""CamVid's colour-coded labels, as its authors distribute them."""

import json

import numpy as np
import pytest
from PIL import Image

from mmseg_uda.errors import UserError
from mmseg_uda.labels import convert_camvid, read_label
from mmseg_uda.labels.camvid import CLASSES, split_of
from mmseg_uda.taxonomy import load_taxonomy

FOLDER = "LabeledApproved_full"
FRAMES = ("0001TP_006690", "0016E5_07959", "Seq05VD_f00000")

# Each class of camvid11 as SegNet's tutorial merges it; Void is in none.
MERGED = {
    "sky": "Sky",
    "building": "Archway Bridge Building Tunnel Wall",
    "pole": "Column_Pole TrafficCone",
    "road": "Road LaneMkgsDriv LaneMkgsNonDriv",
    "pavement": "Sidewalk ParkingBlock RoadShoulder",
    "tree": "Tree VegetationMisc",
    "sign symbol": "SignSymbol Misc_Text TrafficLight",
    "fence": "Fence",
    "car": "Car SUVPickupTruck Truck_Bus Train OtherMoving",
    "pedestrian": "Pedestrian Child CartLuggagePram Animal",
    "bicyclist": "Bicyclist MotorcycleScooter",
}


def draw(root, colours, frame=FRAMES[0], mode="RGB", size=None):
    """Writes a label of one row of colours, and an image of its size or another."""
    for folder in (FOLDER, "701_StillsRaw_full"):
        (root / folder).mkdir(exist_ok=True)
    row = np.array([colours], np.uint8)
    Image.fromarray(row).convert(mode).save(root / FOLDER / f"{frame}_L.png")
    Image.new("RGB", size or (len(colours), 1)).save(root / f"701_StillsRaw_full/{frame}.png")


def test_every_colour_becomes_its_merged_class(tmp_path):
    space = load_taxonomy("camvid11")
    wanted = {old: space.class_id(new) for new, olds in MERGED.items() for old in olds.split()}
    wanted["Void"] = 255
    assert len(wanted) == len(CLASSES) == len({colour for colour, _ in CLASSES.values()}) == 32
    draw(tmp_path, [colour for colour, _ in CLASSES.values()])
    convert_camvid(tmp_path, nproc=1)
    label = read_label(str(tmp_path / FOLDER / f"{FRAMES[0]}_L_labelTrainIds.png"))
    assert label.tolist() == [[wanted[name] for name in CLASSES]]


def test_a_class_has_the_colour_of_its_namesake():
    space = load_taxonomy("camvid11")
    first = {new: CLASSES[olds.split()[0]][0] for new, olds in MERGED.items()}
    first["building"] = CLASSES["Building"][0]
    assert dict(zip(space.classes, space.palette, strict=True)) == first
    assert {value for colour, _ in CLASSES.values() for value in colour} == {0, 64, 128, 192}


def test_palettes_hold_the_same_colours(tmp_path):
    draw(tmp_path, [(0, 0, 0)] * 2)
    picture = Image.fromarray(np.array([[7, 3]], np.uint8))
    palette = np.zeros((256, 3), np.uint8)
    palette[7], palette[3] = CLASSES["Animal"][0], CLASSES["Sky"][0]
    picture.putpalette(palette.ravel().tolist())
    picture.save(tmp_path / FOLDER / f"{FRAMES[0]}_L.png")
    convert_camvid(tmp_path, nproc=1)
    label = read_label(str(tmp_path / FOLDER / f"{FRAMES[0]}_L_labelTrainIds.png"))
    assert label.tolist() == [[9, 0]]


def test_what_is_written_and_told(tmp_path, capsys):
    for frame in FRAMES:
        draw(tmp_path, [(128, 64, 128)] * 3, frame)
    convert_camvid(tmp_path, nproc=1)
    convert_camvid(tmp_path, nproc=1)  # converted files are no labels to convert
    printed = capsys.readouterr()
    assert "3 of 3 labels are converted" in printed.out and "Warning" not in printed.err
    rows = json.loads((tmp_path / "sample_class_stats.json").read_text())
    assert [row["3"] for row in rows] == [3, 3, 3]
    lists = {s: (tmp_path / f"splits/{s}.txt").read_text() for s in ("train", "val", "test")}
    assert list(lists.values()) == [f"{frame}\n" for frame in FRAMES]


def test_colours_of_no_class_are_named(tmp_path, capsys):
    draw(tmp_path, [(128, 64, 128), (129, 64, 128), (1, 2, 3)])
    convert_camvid(tmp_path, nproc=1)
    warning = capsys.readouterr().err
    assert "Warning: 1 of 1 files" in warning and "(1, 2, 3), (129, 64, 128)" in warning
    label = read_label(str(tmp_path / FOLDER / f"{FRAMES[0]}_L_labelTrainIds.png"))
    assert label.tolist() == [[3, 255, 255]]


@pytest.mark.parametrize(
    ("colours", "options", "said"),
    [
        ([(i, 1, 1) for i in range(40)], {}, "holds 40 colours that stand for no class"),
        ([(3, 3, 3)], dict(mode="L"), "has no colours of 8 bits"),
        ([(0, 0, 0)], dict(size=(2, 1)), "has 1x1 pixels, its image"),
    ],
)
def test_labels_that_cannot_be_converted(tmp_path, colours, options, said):
    draw(tmp_path, colours, **options)
    with pytest.raises(UserError, match=said) as caught:
        convert_camvid(tmp_path, nproc=1)
    assert f"{FRAMES[0]}_L.png" in caught.value.message
    assert not (tmp_path / FOLDER / f"{FRAMES[0]}_L_labelTrainIds.png").exists()


def test_folders_of_segnet_need_no_conversion(tmp_path):
    (tmp_path / "trainannot").mkdir()
    with pytest.raises(UserError, match="LabeledApproved_full") as caught:
        convert_camvid(tmp_path)
    assert "trainannot" in caught.value.fix


@pytest.mark.parametrize(
    ("frame", "split"),
    [
        ("0001TP_008520", "train"),
        ("0001TP_008550", "test"),
        ("0006R0_f00930", "train"),
        ("0016E5_07920", "train"),
        ("0016E5_08159", "val"),
        ("0016E5_08190", "train"),
        ("Seq05VD_f05100", "test"),
        ("own", "train"),
    ],
)
def test_splits_of_segnet(frame, split):
    assert split_of(frame) == split
