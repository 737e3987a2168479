from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from mmseg_uda.errors import UserError
from mmseg_uda.taxonomy import load_taxonomy

# raw id -> trainId as published with the data sets' converters
GTA = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11}
GTA |= {25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
SYNTHIA = {3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 16: 9, 1: 10, 10: 11}
SYNTHIA |= {17: 12, 8: 13, 18: 14, 19: 15, 20: 16, 12: 17, 11: 18}


@pytest.fixture
def cityscapes():
    return load_taxonomy("cityscapes19")


def write(tmp_path, **changes):
    content = {
        "name": "two",
        "classes": [
            {"name": "road", "color": [1, 2, 3], "group": "flat", "prompts": ["road"]},
            {"name": "car", "color": [4, 5, 6], "group": "vehicle", "prompts": ["car", "van"]},
        ],
        **changes,
    }
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def class_with(**changes):
    entry = {"name": "road", "color": [1, 2, 3], "group": "flat", "prompts": ["road"], **changes}
    return {"classes": [{k: v for k, v in entry.items() if v is not None}]}


def test_cityscapes_classes_match_mmsegmentation(cityscapes):
    from mmseg.utils import cityscapes_classes, cityscapes_palette

    assert list(cityscapes.classes) == cityscapes_classes()
    assert cityscapes.metainfo()["palette"] == cityscapes_palette()


def test_prompt_columns_of_groups(cityscapes):
    columns = [c for c, prompts in enumerate(cityscapes.prompts) for _ in prompts]
    assert len(columns) == 60
    of_group = {
        group: [i for i, c in enumerate(columns) if cityscapes.groups[c] == group]
        for group in ("nature", "vehicle")
    }
    assert of_group["nature"] == list(range(23, 31))
    assert of_group["vehicle"] == list(range(45, 60))


PROMPTS = """
road; street; parking space; tram track
sidewalk
building; skyscaper; house; bus stop building; garage; car port; scaffolding
standing wall, which is not part of a building; retaining wall
fence; hole in fence
pole; sign pole; traffic light pole
traffic light
traffic sign; parking sign; direction sign
vegetation; tree; hedge
terrain; grass; soil; sand; roadside grass
sky
person; pedestrian; walking person; standing person; person sitting on the ground; \
person sitting on a bench; person sitting on a chair
rider; cyclist; motorcyclist; person on bicycle; person on motorbike; person on bike
car; jeep; SUV; van
truck; box truck; pickup truck; truck trailer
bus
train; tram
motorcycle; moped; scooter
bicycle
"""


def test_published_prompts(cityscapes):
    expected = [tuple(line.split("; ")) for line in PROMPTS.strip().splitlines()]
    assert list(cityscapes.prompts) == expected


def test_super_categories(cityscapes):
    flat, construction, thing = ["flat"] * 2, ["construction"] * 3, ["object"] * 3
    rest = ["nature"] * 2 + ["sky"] + ["human"] * 2 + ["vehicle"] * 6
    assert list(cityscapes.groups) == flat + construction + thing + rest


def test_detector_prompts_of_the_new_classes(cityscapes):
    new = [p for c in (9, 14, 16) for p in cityscapes.prompts[c]]
    assert new == [
        *["terrain", "grass", "soil", "sand", "roadside grass"],
        *["truck", "box truck", "pickup truck", "truck trailer", "train", "tram"],
    ]
    assert len(cityscapes.prompts[9] + cityscapes.prompts[14]) == 9


def test_things_and_subsets(cityscapes):
    assert cityscapes.things == (6, 7, 11, 12, 13, 14, 15, 16, 17, 18)
    assert set(range(19)) - set(cityscapes.subsets["16"]) == {9, 14, 16}
    assert set(range(19)) - set(cityscapes.subsets["13"]) == {3, 4, 5, 9, 14, 16}
    assert cityscapes.subsets["new"] == (9, 14, 16)


@pytest.mark.parametrize(("name", "expected", "end"), [("gta", GTA, 34), ("synthia", SYNTHIA, 22)])
def test_raw_ids(cityscapes, name, expected, end):
    assert cityscapes.raw_ids[name] == expected
    table = cityscapes.lookup(name)
    assert table[: end + 1] == [expected.get(i, 255) for i in range(end + 1)]
    assert all(19 <= value < 255 for value in table[end + 1 : 255])  # refused by every reader
    assert table[255] == 255


def test_ids_of_a_raw_map_without_an_end_are_ignored(tmp_path):
    path = write(tmp_path, raw_ids={"open": {7: 1}, "ended": {7: 1}}, raw_id_ends={"ended": 8})
    taxonomy = load_taxonomy(path)
    assert taxonomy.lookup("open")[9] == 255
    assert taxonomy.lookup("ended")[8:10] == [255, 9]
    assert [taxonomy.space_of(m) for m in ("open", "ended", None)] == ["open", "ended (0..8)", ""]


def test_a_refused_id_is_no_class_even_where_there_are_many(tmp_path):
    names = [{**class_with()["classes"][0], "name": f"class {i}"} for i in range(40)]
    path = write(tmp_path, classes=names, raw_ids={"few": {1: 0}}, raw_id_ends={"few": 3})
    assert load_taxonomy(path).lookup("few")[4] == 40


def test_gta16_remap_keeps_unlisted_ids(cityscapes):
    table = cityscapes.lookup("gta16")
    changed = {i: v for i, v in enumerate(table) if i != v}
    assert changed == {9: 8, 14: 13, 16: 255}


def test_class_id_by_name_and_number(cityscapes):
    assert cityscapes.class_id("train") == 16
    assert cityscapes.class_id(3) == 3
    for wrong in ("tram", 19, -1, True):
        with pytest.raises(UserError, match="has no class"):
            cityscapes.class_id(wrong)


def test_own_taxonomy_with_another_class_count(tmp_path):
    own = load_taxonomy(write(tmp_path, remaps={"x": {5: 1, 6: 255}}, subsets={"cars": ["car"]}))
    assert own.classes == ("road", "car")
    assert own.lookup("x")[5:7] == [1, 255]
    assert own.subsets == {"cars": (1,)}


def test_an_edited_file_is_read_again(tmp_path):
    import os

    path = write(tmp_path)
    assert load_taxonomy(path).name == "two"
    write(tmp_path, name="changed")
    os.utime(path, ns=(1, 1))
    assert load_taxonomy(path).name == "changed"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (class_with(prompts=[]), "class 'road': prompts"),
        (class_with(prompts="road"), "class 'road': prompts"),
        (class_with(group=None), "class 'road' has no group"),
        (class_with(color=[1, 2]), "class 'road': color"),
        (class_with(color=[1, 2, 256]), "class 'road': color"),
        (class_with(colour=[1, 2, 3]), "unknown key 'colour' in class 'road'"),
        ({"classes": []}, "no list of classes"),
        ({"classes": [{"color": [1, 2, 3]}]}, "entry 0 of 'classes' has no name"),
        ({"classes": class_with()["classes"] * 2}, "class 'road' is listed twice"),
        ({"raw_ids": {"mine": {7: 2}}}, "raw_ids.mine: entry 7: 2 leaves the taxonomy"),
        ({"raw_id_ends": {"mine": 7}}, "raw_id_ends.mine: 7 is not the last id"),
        (
            {"raw_ids": {"mine": {7: 1}}, "raw_id_ends": {"mine": 6}},
            "raw_id_ends.mine: 6 is not the last id",
        ),
        ({"remaps": {"mine": {300: 0}}}, "remaps.mine: entry 300: 0 leaves the taxonomy"),
        ({"subsets": {"mine": ["tram"]}}, "subsets.mine: 'tram' is no class"),
        ({"ignore_index": 1}, "ignore_index 1 has to be in 2..255"),
        ({"klasses": []}, "unknown key 'klasses' in the file"),
    ],
)
def test_wrong_entries_are_named(tmp_path, changes, message):
    with pytest.raises(UserError) as error:
        load_taxonomy(write(tmp_path, **changes))
    assert message in str(error.value)
    assert "own.yaml" in str(error.value)


def test_unknown_taxonomy_lists_the_known_ones():
    with pytest.raises(UserError, match=r"(?s)No taxonomy 'camvid'.*cityscapes19"):
        load_taxonomy("camvid")


def test_unknown_label_map_lists_the_known_ones(cityscapes):
    with pytest.raises(UserError, match=r"(?s)no label map 'gta15'.*gta16"):
        cityscapes.lookup("gta15")


def test_importing_the_taxonomy_loads_no_torch():
    code = "import sys, mmseg_uda.taxonomy; assert not {'torch', 'mmengine'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("wrong", [[1, 0], ((0, 1),), 5, 0.5])
def test_what_is_no_label_map_says_how_to_write_one(wrong):
    with pytest.raises(UserError, match="is no label map") as caught:
        load_taxonomy("cityscapes19").lookup(wrong)
    assert "{id in the file: trainId}" in caught.value.fix
