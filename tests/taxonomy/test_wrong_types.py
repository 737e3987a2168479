"""Any value in any place of a file: it is read, or the message names the file."""

import copy
import re

import photographs
import pytest
import yaml

from mmseg_uda.errors import UserError
from mmseg_uda.taxonomy import Taxonomy, TaxonomyMap, load_taxonomy, load_taxonomy_map

TAXONOMY = yaml.safe_load("""
name: own
ignore_index: 255
classes:
  - {name: a, color: [1, 2, 3], group: g, prompts: [a, an a], thing: true}
  - {name: b, color: [4, 5, 6], group: g, prompts: [b]}
raw_ids: {raw: {7: 0, 8: 1}}
raw_id_ends: {raw: 9}
remaps: {one: {1: 0}}
subsets: {first: [a, 1]}
""")
MAP = yaml.safe_load("""
name: own
source_classes: [a, b]
target_classes: [x, y]
palette: [[1, 2, 3], [4, 5, 6]]
ignore_index: 255
default: {a: x, b: 1}
void: 255
candidates: {a: [x, y], b: [y]}
shared_candidates: [z]
shared_overrides: {a: [x]}
alias: {z: x}
context: {x: [an x], z: x}
context_from: cityscapes19
templates: ["a {}"]
padding: {a: 3}
default_padding: 4
eval_ids: [x, 1]
known_ids: [x]
""")
ODD = (
    *(None, True, -1, 300, 1.5, "", "text"),
    *([], [None], [1, 2], {}, {1: 2}, {"a": None}),
)


def places(value, place=()):
    """The whole content and everything in it."""
    yield place
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, entry in value.items() if isinstance(value, dict) else ():
        yield from places(entry, (*place, key))


def changed(content, place, value):
    if not place:
        return value
    content = copy.deepcopy(content)
    entry = content
    for key in place[:-1]:
        entry = entry[key]
    entry[place[-1]] = value
    return content


@pytest.mark.parametrize(
    ("content", "load", "result"),
    [(TAXONOMY, load_taxonomy, Taxonomy), (MAP, load_taxonomy_map, TaxonomyMap)],
)
def test_any_value_in_any_place(tmp_path, content, load, result, recwarn):
    path = tmp_path / "own.yaml"
    refused = 0
    for place in places(content):
        for value in ODD:
            path.write_text(yaml.safe_dump(changed(content, place, value)))
            try:
                assert isinstance(load(path), result)
            except UserError as error:
                refused += 1
                assert str(path) in error.message
    assert refused > 0.7 * len(ODD) * sum(1 for _ in places(content))


@pytest.mark.parametrize(
    ("content", "place", "value", "message"),
    [
        (TAXONOMY, ("classes",), {"a": {}}, "'classes' is not a list"),
        (TAXONOMY, ("classes",), "a, b", "'classes' is not a list"),
        (TAXONOMY, ("classes", 1), "b", "entry 1 of 'classes' has no name"),
        (TAXONOMY, ("classes", 1, "name"), 5, "entry 1 of 'classes' has no name"),
        (TAXONOMY, ("classes", 1, "name"), "a", "class 'a' is listed twice"),
        (TAXONOMY, ("classes", 0, "color"), [1, 2], r"color \[1, 2\] is not three numbers"),
        (TAXONOMY, ("classes", 0, "color"), "red", "color 'red' is not three numbers"),
        (TAXONOMY, ("classes", 0, "prompts"), 5, "prompts 5 is not a list of texts"),
        (TAXONOMY, ("classes", 0, "thing"), "sometimes", "thing 'sometimes' is neither"),
        (TAXONOMY, ("ignore_index",), -1, "ignore_index -1 has to be in 2..255"),
        (TAXONOMY, ("ignore_index",), 300, "ignore_index 300 has to be in 2..255"),
        (TAXONOMY, ("name",), ["own"], r"name \['own'\] is no text"),
        (TAXONOMY, ("raw_ids",), [7], r"raw_ids: \[7\] is no map"),
        (TAXONOMY, ("raw_ids", "raw"), [7], r"raw_ids.raw: \[7\] is no map"),
        (TAXONOMY, ("raw_id_ends",), 9, "raw_id_ends: 9 is no map"),
        (TAXONOMY, ("remaps", "one"), {1: 77}, "remaps.one: entry 1: 77 leaves the taxonomy"),
        (TAXONOMY, ("subsets",), ["a"], r"subsets: \['a'\] is no map"),
        (TAXONOMY, ("subsets", "first"), 1, "subsets.first: 1 is no list"),
        (MAP, ("palette",), 5, "palette has to hold one RGB colour"),
        (MAP, ("palette", 1), [4, 5, 600], "palette has to hold one RGB colour"),
        (MAP, ("ignore_index",), "none", "ignore_index 'none' is no id behind those"),
        (MAP, ("ignore_index",), 1, "ignore_index 1 is no id behind those"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, place, value, message):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(changed(content, place, value)))
    with pytest.raises(UserError, match=f"{path}: .*{message}"):
        (load_taxonomy if content is TAXONOMY else load_taxonomy_map)(path)


@pytest.mark.parametrize("load", [load_taxonomy, load_taxonomy_map])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", ": no "),
        (b"- a\n- b", ": no "),
        (b"5", ": no "),
        (b"a: [", " is not valid YAML"),
        (b"[" * 2000, " is not valid YAML"),
        (b"a: 2020-13-45", " is not valid YAML"),
        (b"a: !!python/object/apply:os.system [x]", " is not valid YAML"),
        (b"\xff\xfe\x00\xd8", " is no text in UTF-8"),
    ],
)
def test_a_file_that_is_something_else(tmp_path, load, data, message):
    path = tmp_path / "own.yaml"
    path.write_bytes(data)
    with pytest.raises(UserError, match=re.escape(f"{path}{message}")):
        load(path)


@pytest.mark.parametrize("load", [load_taxonomy, load_taxonomy_map])
@pytest.mark.parametrize("put", photographs.NO_FILES)
def test_what_is_no_file(tmp_path, load, put):
    put(tmp_path / "own.yaml")
    with pytest.raises(UserError, match=f"own.yaml .*{photographs.NO_FILES[put]}"):
        load(tmp_path / "own.yaml")
