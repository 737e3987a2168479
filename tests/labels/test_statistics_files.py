"""Files of class counts with numbers that no label can have, or with something else."""

import json

import pytest

from mmseg_uda.errors import UserError
from mmseg_uda.labels import cached_counts, published_counts

NAMES = ["a.png", "b.png"]
COUNTS = {"0": 30, "1": 12}


def published(path, counts):
    entries = [{**COUNTS, "file": "labels/a.png"}, {**counts, "file": "labels/b.png"}]
    path.write_text(json.dumps(entries))
    return published_counts(path, NAMES)


def cached(path, counts):
    path.write_text(json.dumps({"counts": {"a.png": COUNTS, "b.png": counts}}))
    return cached_counts(path, NAMES)


@pytest.mark.parametrize("read", [published, cached])
def test_counts_are_read_in_the_order_of_the_names(tmp_path, read):
    assert read(tmp_path / "counts.json", {"255": 7}) == [{0: 30, 1: 12}, {255: 7}]


@pytest.mark.parametrize("read", [published, cached])
@pytest.mark.parametrize(
    ("key", "pixels", "what"),
    [
        ("1", -5, "-5 is no number of pixels"),
        ("1", 10**30, "10{30} is no number of pixels"),
        ("1", 2**31, "2147483648 is no number of pixels"),
        ("1", 0.5, "0.5 is no number of pixels"),
        ("1", float("nan"), "nan is no number of pixels"),
        ("1", float("inf"), "inf is no number of pixels"),
        ("1", "12", "'12' is no number of pixels"),
        ("1", True, "True is no number of pixels"),
        ("1", None, "None is no number of pixels"),
        ("1", [12], r"\[12\] is no number of pixels"),
        ("256", 12, "'256' is no id in 0..255"),
        ("-1", 12, "'-1' is no id in 0..255"),
        ("9" * 40, 12, "'9{40}' is no id in 0..255"),
        ("road", 12, "'road' is no id in 0..255"),
        ("", 12, "'' is no id in 0..255"),
    ],
)
def test_absurd_numbers(tmp_path, read, key, pixels, what):
    path = tmp_path / "counts.json"
    with pytest.raises(UserError, match=f"{path} is not a list of class counts: b.png: {what}"):
        read(path, {key: pixels})


@pytest.mark.parametrize("read", [published_counts, cached_counts])
@pytest.mark.parametrize(
    "text",
    ["", "[", "5", "null", '"text"', "[1, 2]", '[{"0": 5}]', '[{"file": 5}]', "[" * 2000]
    + ['{"counts": 5}', '{"counts": {"a.png": 5}}', '{"counts": {}}', "\0"],
)
def test_a_file_that_is_something_else(tmp_path, read, text):
    (tmp_path / "counts.json").write_text(text)
    with pytest.raises(UserError, match=r"counts\.json is not a list of class counts") as error:
        read(tmp_path / "counts.json", NAMES)
    assert "delete the file" in error.value.fix
