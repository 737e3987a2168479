"""Taxonomy maps."""

from __future__ import annotations

import copy
import hashlib
import subprocess
import sys
import warnings

import pytest
import yaml

from mmseg_uda.errors import UserError
from mmseg_uda.taxonomy import available_taxonomy_maps, load_taxonomy, load_taxonomy_map
from mmseg_uda.taxonomy.taxonomy_map import MAPS_DIR

# Target ids of the candidates of each source class, in the published order
MAPILLARY_CANDIDATES = [
    [13, 28, 26, 36, 41, 43, 12, 23, 24, 31],
    [15, 2, 11],
    [17, 16, 42, 35, 18],
    [6, 46, 16, 51, 32, 35, 18],
    [3, 4],
    [45, 47, 51, 32, 44, 50, 49, 35],
    [48, 44],
    [50, 49, 35],
    [30, 28],
    [29, 25, 28, 26, 31],
    *([27], [19], [20, 21], [55, 60, 53], [61, 56], [54], [58], [57], [52]),
]
IDD_CANDIDATES = [
    *([0], [2, 13, 1, 3], [22, 17], [14, 21], [15, 16, 21], [20], [19], [18, 17], [24, 21]),
    *([3, 21, 1], [25], [4], [5], [9, 8], [10], [11], [12, 12], [6], [7]),
]
# Candidates per source class, shared ones included
MAPILLARY_SIZES = {"road": 11, "sidewalk": 4, "building": 6, "wall": 8, "fence": 3, "pole": 9}
MAPILLARY_SIZES |= {"traffic light": 3, "traffic sign": 4, "vegetation": 3, "terrain": 6}
MAPILLARY_SIZES |= {"sky": 2, "person": 2, "rider": 3, "car": 4, "truck": 3, "bus": 2}
MAPILLARY_SIZES |= {"train": 2, "motorcycle": 2, "bicycle": 2}


@pytest.fixture
def vistas():
    return load_taxonomy_map("mapillary_v5")


@pytest.fixture
def idd():
    return load_taxonomy_map("idd_v5")


@pytest.fixture
def content():
    """A small map of two source classes into three target classes, of its own classes."""
    return {
        "source_classes": ["ground", "thing"],
        "target_classes": ["road", "curb", "car"],
        "default": {"ground": "road", "thing": "car"},
        "candidates": {"ground": ["road", "curb"], "thing": ["automobile"]},
        "alias": {"automobile": "car"},
        "context": {"road": ["road", "street"], "curb": ["curb"], "automobile": ["car"]},
    }


@pytest.fixture
def load(tmp_path):
    def write(content):
        path = tmp_path / "own.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return load_taxonomy_map(path)

    return write


def test_vistas_has_the_published_numbers(vistas):
    facts = vistas.facts()
    assert len(vistas.names) == 48
    assert sum(len(texts) for texts in vistas.contexts) == 454
    assert len({phrase for own in vistas.phrases() for phrase in own}) == 452
    assert len(facts["reachable"]) == 47
    assert len(vistas.eval_ids) == 46
    assert facts["unreachable_evaluated"] == []
    assert facts["reachable_ignored"] == [11]
    assert (len(vistas.known_ids), len(vistas.new_ids)) == (19, 27)
    sizes = map(len, vistas.candidates)
    assert dict(zip(vistas.source_classes, sizes, strict=True)) == MAPILLARY_SIZES


def test_idd_has_the_published_numbers(idd):
    assert idd.facts()["reachable"] == list(range(26))
    assert len(idd.known_ids) == 19
    assert idd.new_ids == (1, 8, 13, 16, 17, 21, 23)
    assert "bicycle" in idd.contexts[idd.names.index("bicycle")]


@pytest.mark.parametrize(
    ("name", "candidates", "shared"),
    [("mapillary_v5", MAPILLARY_CANDIDATES, 33), ("idd_v5", IDD_CANDIDATES, 23)],
)
def test_candidates_are_the_published_ones(name, candidates, shared):
    found = load_taxonomy_map(name)
    assert [[found.name_ids[n] for n in row] for row in found.own] == candidates
    assert [[found.name_ids[n] for n in row] for row in found.shared] == [[shared]] * 19
    assert tuple(row[0] for row in candidates) == found.defaults
    assert found.templates == ("a photo of {}",)


@pytest.mark.parametrize(
    ("name", "digest"),
    [("mapillary_v5", "3d8631b4a40fd808"), ("idd_v5", "16849a6fde6ce59a")],
)
def test_context_names_are_the_published_ones(name, digest):
    # Of one line per prompt-name: name|id|texts, sorted.
    found = load_taxonomy_map(name)
    rows = zip(found.names, found.name_ids, found.contexts, strict=True)
    lines = sorted(f"{name}|{number}|{'; '.join(texts)}" for name, number, texts in rows)
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == digest


def test_evaluated_known_and_new_ids_of_vistas(vistas):
    ignored = {0, 1, 5, 7, 8, 9, 10, 11, 14, 22, 34, 37, 38, 39, 40, 59, 62, 63, 64, 65}
    assert vistas.eval_ids == tuple(i for i in range(66) if i not in ignored)
    assert vistas.known_ids == tuple(sorted(vistas.defaults))
    assert (vistas.target.subsets["known"], vistas.target.subsets["new"]) == (
        vistas.known_ids,
        vistas.new_ids,
    )


def test_vistas_follows_mmsegmentation(vistas):
    from mmseg.datasets import MapillaryDataset_v1

    assert vistas.target.metainfo() == {
        "classes": tuple(MapillaryDataset_v1.METAINFO["classes"]),
        "palette": MapillaryDataset_v1.METAINFO["palette"],
    }


def test_idd_colours(idd):
    colours = dict(zip(idd.target_classes, idd.palette, strict=True))
    assert colours["autorickshaw"] == (255, 204, 54)
    assert colours["obs-str-bar-fallback"] == (169, 187, 214)
    assert len(set(idd.palette)) == 26


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mapillary_v5", [[13, 27], [55, 52]]), ("idd_v5", [[0, 25], [9, 7]])],
)
def test_default_layer(name, expected):
    lookup = load_taxonomy_map(name).default_lookup()
    assert [[lookup[s] for s in row] for row in ([0, 10], [13, 18])] == expected


def test_pixels_without_a_class(vistas, idd):
    assert vistas.default_lookup()[255] == vistas.default_lookup()[19] == 65
    assert idd.default_lookup()[19] == 255


def test_paddings(vistas):
    of = dict(zip(vistas.source_classes, vistas.paddings, strict=True))
    assert [of[c] for c in ("road", "sky", "fence", "wall", "car")] == [120, 80, 40, 10, 10]


def test_aliases_and_shared_candidates(vistas):
    ids = dict(zip(vistas.names, vistas.name_ids, strict=True))
    assert ids["Front Side Of Traffic Sign"] == 50
    assert ids["Back Side Of Traffic Sign"] == 49
    sky = vistas.candidates[10]
    assert [vistas.name_ids[n] for n in sky] == [27, 33]
    table = vistas.candidate_table()
    assert [n for n, competes in enumerate(table[10]) if competes] == list(sky)


def test_phrases_of_one_name(vistas):
    motorcyclist = vistas.phrases()[vistas.names.index("Motorcyclist")]
    assert motorcyclist[0] == "a photo of motorcyclist"
    assert len(motorcyclist) == 6


def test_reverse_map_keeps_every_default():
    reverse = load_taxonomy_map("mapillary_to_cityscapes")
    lookup = reverse.default_lookup()
    # Id by id.
    assert lookup[:22] == [10, 0, 1, 4, 4, 4, 3, 0, 0, 1, 0, 1, 16, 0, 0, 1, 0, 2, 3, 11, 12, 12]
    assert lookup[22:44] == [
        *(12, 0, 0, 9, 9, 10, 9, 9, 8, 0, 4, 255, 255, 3, 0, 255, 255, 255, 255, 0, 2, 0),
    ]
    assert lookup[44:66] == [
        *(6, 5, 7, 5, 6, 7, 7, 255, 18, 13, 15, 13, 13, 17, 16, 13, 14, 14, 255, 255, 13, 255),
    ]
    assert reverse.candidates[13] and not reverse.candidates[33]


@pytest.mark.parametrize("name", ["cityscapes_closed", "synthia_closed"])
def test_closed_sets(name):
    closed = load_taxonomy_map(name)
    assert closed.defaults == tuple(range(19))
    terrain = closed.names.index("terrain")
    assert closed.contexts[terrain][0] == "non-drivable terrain"


def test_a_region_may_be_unlabelled_in_the_closed_set():
    closed = load_taxonomy_map("cityscapes_closed")
    assert closed.name_ids[closed.names.index("unlabeled")] == 255
    assert closed.facts()["reachable"] == list(range(19))


@pytest.mark.parametrize("name", available_taxonomy_maps())
def test_shipped_maps_raise_no_doubts(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_taxonomy_map(name)


def test_idd_as_released_is_refused(load):
    released = yaml.safe_load((MAPS_DIR / "idd_v5.yaml").read_text())
    del released["context"]["train"]
    with pytest.raises(UserError, match=r"source class 'train': candidate 'train' has no context"):
        load(released)


def test_classes_may_stand_in_the_file(load, content):
    own = load(content)
    assert own.target_classes == ("road", "curb", "car")
    assert own.defaults == (0, 2)
    assert own.names == ("road", "curb", "automobile")
    assert own.name_ids == (0, 1, 2)
    assert own.paddings == (10, 10)
    assert len(set(own.palette)) == 3
    assert own.known_ids == (0, 2)
    assert own.new_ids == (1,)


def test_all_wrong_entries_come_in_one_message(load, content):
    del content["default"]["thing"]
    del content["context"]["curb"]
    content["candidates"]["ground"].append("kerb")
    content["padding"] = {"ground": -1}
    with pytest.raises(UserError) as error:
        load(content)
    text = str(error.value)
    assert "own.yaml: 4 wrong entries" in text
    assert "source class 'thing' has no default" in text
    assert "source class 'ground': candidate 'curb' has no context names" in text
    assert "source class 'ground': candidate 'kerb' has no target class" in text
    assert "padding, entry 'ground': -1" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": {"ground": ["road"]}}, "source class 'thing' has no candidates"),
        ({"default": {"ground": "path", "thing": "car"}}, "source class 'ground': 'path' is no"),
        ({"alias": {"automobile": 7}}, "alias, entry 'automobile': 7 is no class"),
        ({"shared_candidates": ["bench"]}, "shared_candidates: candidate 'bench' has no target"),
        ({"templates": ["a photo"]}, "templates"),
        ({"eval_ids": "most"}, "eval_ids: 'most' is neither"),
        ({"contexts": {}}, "unknown key 'contexts'"),
        ({"target_classes": ["car", "car"]}, "target_classes lists 'car' twice"),
        ({"default": {"sky": "road"}}, "default: 'sky' is no source class"),
    ],
)
def test_what_is_wrong_is_named(load, content, change, message):
    with pytest.raises(UserError, match=message):
        load({**content, **change})


def test_doubtful_entries_are_warnings(load, content):
    content["candidates"]["ground"] = ["curb", "curb"]
    with pytest.warns(UserWarning) as warned:
        own = load(content)
    texts = " ".join(str(w.message) for w in warned)
    assert "'curb' is listed twice" in texts
    assert "source class 'ground': its default 'road' is none of its candidates" in texts
    assert own.candidates[0] == (0,)


def test_an_alias_that_is_a_class_is_doubtful(load, content):
    content["alias"]["road"] = "car"
    with pytest.warns(UserWarning, match="alias, entry 'road': it is a class"):
        own = load(content)
    assert own.name_ids[own.names.index("road")] == 0


def test_a_shared_candidate_without_context_is_named_so(load, content):
    content["target_classes"] = [*content["target_classes"], "bench"]
    content["alias"]["seat"] = "bench"
    content["shared_candidates"] = ["seat"]
    with pytest.raises(UserError, match=r"shared candidates, source class 'ground': .*'seat'"):
        load(content)


def test_shared_candidates_per_class(load, content):
    content["shared_candidates"] = ["curb"]
    content["shared_overrides"] = {"thing": []}
    own = load(content)
    assert [[own.names[n] for n in row] for row in own.candidates] == [
        ["road", "curb"],
        ["automobile"],
    ]


def test_fingerprint_follows_the_content(load, content):
    before = load(content).fingerprint()
    reordered = dict(reversed(list(content.items())))
    assert load(reordered).fingerprint() == before
    changed = copy.deepcopy(content)
    changed["context"]["road"] = ["road", "lane"]
    assert load(changed).fingerprint() != before


def test_variants_for_ablations(vistas):
    alone = vistas.variant(shared=False, contexts="name")
    assert [len(row) for row in alone.candidates][10] == 1
    assert alone.contexts[alone.names.index("Guard Rail")] == ("guard rail",)
    assert alone.fingerprint() != vistas.fingerprint()


@pytest.mark.parametrize("name", ["idd_v5", "cityscapes_closed", "synthia_closed"])
def test_released_texts_are_spelt_as_released(name):
    corrected = load_taxonomy_map(name)
    released = corrected.variant(contexts="released")
    changed = {
        prompt: texts
        for prompt, texts, now in zip(
            corrected.names, released.contexts, corrected.contexts, strict=True
        )
        if texts != now
    }
    assert changed == {"bicycle": ("bycycle",)}
    assert released.fingerprint() != corrected.fingerprint()


@pytest.mark.parametrize("name", ["mapillary_v5", "mapillary_to_cityscapes"])
def test_other_maps_were_not_corrected(name):
    loaded = load_taxonomy_map(name)
    assert loaded.variant(contexts="released").fingerprint() == loaded.fingerprint()


@pytest.mark.parametrize(
    ("released", "fault"),
    [({"tree": ["tre"]}, "'tree' is no prompt-name"), ({"road": "raod"}, "not a list of texts")],
)
def test_wrong_released_texts_are_named(load, content, released, fault):
    with pytest.raises(UserError, match=fault):
        load({**content, "released_context": released})


def test_unknown_name_lists_the_maps():
    with pytest.raises(UserError, match="mapillary_v5"):
        load_taxonomy_map("mapillary_v6")


@pytest.mark.parametrize("name", ["mapillary66", "idd26"])
def test_targets_are_ordinary_taxonomies(name):
    taxonomy = load_taxonomy(name)
    assert set(taxonomy.subsets) >= {"known", "new"}
    assert taxonomy.lookup()[:3] == [0, 1, 2]


def test_no_torch():
    code = "import sys; from mmseg_uda.taxonomy import load_taxonomy_map as l; l('idd_v5'); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
