"""From ids to classes."""

from collections import Counter

import numpy as np
import pytest
from harbour import write, write_pairs

from mmseg_uda.errors import UserError
from mmseg_uda.projects import Ids, count_labels, decide_classes, find_pairs
from mmseg_uda.projects.classes import label_map


def ids(*values):
    return Ids(Counter(dict.fromkeys(values, 10)), Counter(dict.fromkeys(values, 2)), 4)


def named(*arguments, **options):
    return [(one.value, one.name) for one in decide_classes(*arguments, **options)]


def test_counts(tmp_path):
    write_pairs(tmp_path, "i/{i}.png", "l/{i}.png", count=3)
    found = count_labels(find_pairs(tmp_path / "i", tmp_path / "l").labels)
    assert sorted(found.pixels) == [0, 4, 9, 11] and found.pixels.total() == 3 * 96 * 64
    assert found.pixels[0] == 3 * 6 * 96
    assert found.share(0) == "9.4 % of the pixels, in 3 of 3 labels"


@pytest.mark.parametrize(
    ("values", "options", "expected", "table"),
    [
        ((0, 1, 2), {}, ["class_0", "class_1", "class_2"], {}),
        ((0, 1, 255), {}, ["class_0", "class_1"], {}),
        ((4, 9, 255), {}, ["class_4", "class_9"], {4: 0, 9: 1, 255: 255}),
        ((0, 255), {}, ["class_0", "class_255"], {0: 0, 255: 1}),
        ((0, 4, 255), dict(names=["255=sky"]), ["class_0", "class_4", "sky"], {0: 0, 4: 1, 255: 2}),
        ((0, 4, 9), dict(ignored=[0]), ["class_4", "class_9"], {0: 255, 4: 0, 9: 1}),
        (
            (0, 4, 9),
            dict(names=list("abc")),
            list("abc"),
            {0: 0, 4: 1, 9: 2},
        ),
        ((0, 1), dict(names=["1=a=b"]), ["class_0", "a=b"], {}),
        ((0, 1), dict(names=["7=rare"]), ["class_0", "class_1", "rare"], {0: 0, 1: 1, 7: 2}),
        (
            (0, 4, 9),
            dict(ask={0: "-", 4: "sea", 9: "ship"}.get),
            ["sea", "ship"],
            {0: 255, 4: 0, 9: 1},
        ),
    ],
)
def test_what_ids_stand_for(values, options, expected, table):
    classes = decide_classes(ids(*values), **options)
    assert [one.name for one in classes] == expected
    assert label_map(classes, ids(*values)) == table


def test_things():
    classes = decide_classes(ids(0, 1), ["sea", "ship"], things=["ship"])
    assert [one.thing for one in classes] == [False, True]


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ((0, 1, 2), dict(names=["a", "b"]), "hold 3 ids: 0, 1, 2"),
        ((0, 1), dict(names=["a", "1=b"]), "has 2 entries"),
        ((0, 1), dict(names=["x=b"]), "'x=b' is no id"),
        ((0, 1), dict(names=["300=b"]), "'300=b' is no id"),
        ((0, 1), dict(names=["b", "b"]), "names two ids"),
        ((0, 1), dict(things=["ship"]), "--things has 'ship'"),
        ((3,), {}, "hold ids 3"),
        ((0, 1), dict(ignored=[0]), "of which class_1 is a class"),
    ],
)
def test_what_does_not_fit(values, options, message):
    with pytest.raises(UserError, match=message) as error:
        decide_classes(ids(*values), **options)
    assert error.value.fix


def test_photographs_are_no_labels(tmp_path):
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write(tmp_path / "0.png", pixels)
    with pytest.raises(UserError, match="hold 256 different ids"):
        count_labels([str(tmp_path / "0.png")])
