"""Few lines of YAML that stand for billions of values, or for themselves, are one message."""

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.taxonomy import load_taxonomy, load_taxonomy_map

LEVELS = "bcdefghi"
LISTS = "[x, &a [1], " + ", ".join(
    f"&{name} [{', '.join([f'*{below}'] * 9)}]"
    for below, name in zip("abcdefgh", LEVELS, strict=True)
)
MERGES = "[&a {x: 1}, " + ", ".join(
    f"&{name} {{<<: [{', '.join([f'*{below}'] * 9)}]}}"
    for below, name in zip("abcdefgh", LEVELS, strict=True)
)
ITSELF = ("&a [*a]", "&a {x: *a}", "[&a [1, [*a]]]")


@pytest.mark.parametrize("load", [load_taxonomy, load_taxonomy_map])
@pytest.mark.parametrize("value", [f"{LISTS}]", f"{MERGES}]", *ITSELF])
@pytest.mark.parametrize("key", ["name", "classes", "templates"])
def test_aliases_of_aliases(tmp_path, load, value, key):
    path = tmp_path / "own.yaml"
    path.write_text(f"{key}: {value}\n")
    with pytest.raises(UserError, match="own.yaml cannot be read: its aliases") as error:
        load(path)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("load", [load_taxonomy, load_taxonomy_map])
def test_what_nobody_has_written(tmp_path, load):
    path = tmp_path / "own.yaml"
    path.write_text(f"name: {'x' * 2_000_000}\n")
    with pytest.raises(UserError, match="own.yaml is no file of classes: it has 2000007 char"):
        load(path)


def test_aliases_as_people_write_them(tmp_path):
    path = tmp_path / "own.yaml"
    classes = ["{name: a, color: [1, 2, 3], group: g, prompts: &p [thing]}"]
    classes += ["{name: b, color: [1, 2, 4], group: g, prompts: *p}"]
    path.write_text(f"name: own\nclasses: [{', '.join(classes)}]\n")
    assert len(load_taxonomy(path)) == 2
